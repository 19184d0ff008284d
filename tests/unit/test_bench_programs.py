"""What programs with a load of their own are asked, and what their answers come to: pgbench and fio."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ai_how.bench.figures import figures, record
from ai_how.bench.interfaces import Measured
from ai_how.bench.targets import fio, sql
from ai_how.bench.targets.scheduler import clocks_apart
from ai_how.errors import CouldNotTell
from ai_how.spec.bench import BenchRecipe, parse_bench
from ai_how.spec.bench_workloads import Fio, Sql

HEAD = 'version: "1.0"\nkind: bench\nname: sample\nrepetitions: 1\n'
REPORT = (
    "tps = {tps:.1f} (without initial connection time)\nnumber of failed transactions: {failed} (0.000%)\n"
)


def sql_recipe(more: str = "") -> BenchRecipe:
    load = "load: {arrivals: poisson, rate: 100, seconds: 10, connections: 2}\n"
    return parse_bench(f"{HEAD}target: {{api: sql}}\n{load}{more}", "r.yaml")


def line(due: float, took: float, lag: float = 0.0) -> str:
    """One transaction as pgbench logs it: client, transaction, microseconds, script, when it ended, lag."""
    seconds, micros = divmod(round((1000 + due + took) * 1e6), 1_000_000)
    return f"0 1 {round(took * 1e6)} 0 {seconds} {micros} {round(lag * 1e6)}"


def judged(recipe: BenchRecipe, found: Measured) -> tuple[list[str], set[str]]:
    """The figures that can be trusted, and the reasons of the others."""
    made = figures(recipe, [record(recipe, 1, 0.0, found)])
    return [one.name for one in made if one.ok], {reason for one in made for reason in one.reasons}


def test_a_steady_pgbench_can_be_trusted_whatever_order_its_log_has() -> None:
    recipe = sql_recipe()
    rows = [line(i / 100, 0.005 + 0.0001 * (i % 7)) for i in range(2000)]
    found = sql.parse(REPORT.format(tps=100, failed=0), "\n".join(rows[::-1]), Sql(), recipe)
    trusted, reasons = judged(recipe, found)
    assert "latency.p99" in trusted and "throughput" in trusted
    assert found.achieved == pytest.approx(1, abs=0.01) and not any("run 1" in one for one in reasons)


def test_a_server_that_cannot_keep_the_rate_has_no_figure_that_can_be_trusted() -> None:
    """It does a transaction in 20 ms, and one is due each 10 ms: who comes last waits for half of the run."""
    recipe = sql_recipe()
    rows = [line(i / 100, 0.02 + i / 100, i / 100) for i in range(500)]
    found = sql.parse(REPORT.format(tps=50, failed=0), "\n".join(rows), Sql(), recipe)
    trusted, reasons = judged(recipe, found)
    assert not trusted and found.achieved == pytest.approx(0.5, abs=0.01)
    assert any("50.0% of the rate intended" in one for one in reasons)
    assert any("no steady state" in one for one in reasons)


def test_the_warm_up_of_pgbench_is_cut_unless_the_recipe_cuts_nothing() -> None:
    rows = "\n".join(line(i / 100, 0.1 if i < 100 else 0.005) for i in range(1000))
    for more, count in (("", 900), ("warmup: none\n", 1000)):
        found = sql.parse(REPORT.format(tps=100, failed=0), rows, Sql(), sql_recipe(more))
        assert len(found.histograms["latency"]) == count and found.cut == 1000 - count


def test_transactions_that_failed_or_were_skipped_are_in_no_latency() -> None:
    rows = [line(i / 100, 0.005) for i in range(100)]
    rows += ["0 1 failed 0 1001 5 0", "0 1 skipped 0 1001 6 0"]
    found = sql.parse(REPORT.format(tps=10, failed=1), "\n".join(rows), Sql(limit_ms=100), sql_recipe())
    assert len(found.histograms["latency"]) == 100 and found.errors == {"transaction failed": 1}
    assert found.sent == 101 and found.notes["skipped"] == 1


def test_what_is_no_log_of_pgbench_is_told() -> None:
    with pytest.raises(CouldNotTell, match="log is not what it should be"):
        sql.parse(REPORT.format(tps=1, failed=0), "0 1 much", Sql(), sql_recipe())


# --- the scheduler ------------------------------------------------------------------------------------


def test_jobs_that_start_before_they_were_submitted_tell_of_clocks_that_are_apart() -> None:
    assert clocks_apart([0.2, 0.0, 1.5]) == {}
    said = clocks_apart([0.2, -0.25, -0.125, 1.5])["start"]
    assert said.startswith("2 of 4 jobs started up to 0.250 s before they were submitted")


# --- fio ----------------------------------------------------------------------------------------------


def test_a_rate_of_reads_and_writes_together_is_the_rate() -> None:
    recipe = parse_bench(
        f"{HEAD}target: {{api: fio}}\nload: {{arrivals: poisson, rate: 1000, seconds: 2}}\n"
        "workload: {fio: {pattern: randrw, read_share: 70, jobs: 2}}\n",
        "r.yaml",
    )
    asked = recipe.workload.fio or Fio()
    assert "--rate_iops=350,150" in fio.argv(asked, recipe, Path("/tmp"))
    assert fio.rates(Fio(pattern="randread"), 1000) == "1000"
    assert fio.rates(Fio(pattern="rw", read_share=0), 1000) == "1000", "a rate of 0 is none to fio"


def way(iops: float) -> dict[str, object]:
    bins = {"100000": 2 * round(iops)}
    return {"total_ios": 2 * round(iops), "runtime": 2000, "iops": iops, "bw_bytes": 4096 * iops,
            "lat_ns": {"bins": bins}}  # fmt: skip


@pytest.mark.parametrize(("iops", "kept"), [(1000.0, True), (1030.0, True), (700.0, False)])
def test_fio_has_kept_its_rate_or_its_figures_fail(iops: float, kept: bool) -> None:
    """Two seconds of 1,000 random arrivals a second are a few in a hundred more or less, as chance has it."""
    job = {"read": way(0.7 * iops), "write": way(0.3 * iops), "error": 0, "usr_cpu": 1, "sys_cpu": 1}
    text = json.dumps({"fio version": "fio-3", "jobs": [job]}, indent=1)
    recipe = parse_bench(
        f"{HEAD}target: {{api: fio}}\nload: {{arrivals: poisson, rate: 1000, seconds: 2}}\n", "r.yaml"
    )
    trusted, reasons = judged(recipe, fio.parse(text, Fio(), 1000.0))
    assert ("read_operations" in trusted) == kept
    assert any("of the rate intended" in one for one in reasons) != kept
