"""What programs with a load of their own are asked, and what their answers come to; and two targets at once."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path

import pytest

from ai_how.bench.exchange import Exchange
from ai_how.bench.figures import figures, record
from ai_how.bench.interfaces import Measured, Place
from ai_how.bench.model import Calibration, Value
from ai_how.bench.targets import checkpoint, fio, pair, scheduler, sql
from ai_how.bench.targets.scheduler import clocks_apart
from ai_how.errors import CommandFailed, CouldNotTell, TimedOut, UsageError
from ai_how.run import Command, Completed, LocalGate
from ai_how.spec.bench import BenchRecipe, parse_bench
from ai_how.spec.bench_workloads import Checkpoint, Fio, Sql

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


# --- two at once --------------------------------------------------------------------------------------

PAIR = """\
target: {api: pair}
load: {arrivals: closed}
workload:
  pair:
    first: {target: {url: "http://127.0.0.1:1"}, load: {arrivals: constant, rate: 200, seconds: 10}}
    second: {target: {api: metadata}, workload: {metadata: {files: 500}}, load: {arrivals: closed}}
"""


def asked(took: list[float], late: float = 0.0) -> Measured:
    """Requests each 5 ms; the load core's."""
    rows = [
        Exchange(due, due + late, due + late, due + late + one, due + late + one, 200)
        for due, one in ((10 + i / 200, one) for i, one in enumerate(took))
    ]
    return Measured(seconds=10.0, exchanges=rows, intended=len(rows), busy=0.1)


def created(rate: float) -> Measured:
    return Measured(seconds=5.0, values={"creates": Value(value=rate, unit="1/s")}, sent=500, good=500)


def pair_of(together: Measured) -> tuple[list[str], set[str]]:
    recipe = parse_bench(HEAD + PAIR, "r.yaml")
    parts = [one for one, _ in pair.parts(recipe, Place(LocalGate(), Path()))]
    found = {
        (0, "alone"): asked([0.001] * 2000), (1, "alone"): created(900),
        (0, "together"): together, (1, "together"): created(800),
    }  # fmt: skip
    calibrated = {"calibration": Calibration(ceiling=1e5, floor_ms=0.1)}
    records = {
        key: record(parts[key[0]], 1, 0.0, one).model_copy(update=calibrated) for key, one in found.items()
    }
    return judged(recipe, pair.compared(records, 1.0, parts))


def test_two_at_once_that_were_asked_as_they_should_be_can_be_trusted() -> None:
    trusted, reasons = pair_of(asked([0.003] * 2000))
    assert {"first.latency.p50.ratio", "first.latency.p99.together", "second.creates.ratio"} <= set(trusted)
    assert not reasons


def test_a_generator_that_was_late_beside_a_storm_tells_nothing_of_the_storm() -> None:
    """It is this machine that was slow, and 20 ms of it would be read as the service's."""
    trusted, reasons = pair_of(asked([0.001] * 2000, late=0.02))
    assert not trusted and any("first, together: requests went out up to 20" in one for one in reasons)


def test_a_storm_that_ended_in_the_middle_is_no_state_to_tell_of() -> None:
    trusted, reasons = pair_of(asked([0.003] * 1100 + [0.001] * 900))
    assert "second.creates.ratio" in trusted and "first.latency.p50.alone" in trusted
    assert not {"first.latency.p50.together", "first.latency.p50.ratio", "first.throughput.ratio"} & set(
        trusted
    )
    assert any("together: no steady state" in one for one in reasons)


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


@pytest.mark.parametrize(
    ("engine", "direct", "past"), [("libaio", True, True), ("mmap", True, False), ("sync", False, False)]
)
def test_a_file_in_the_page_cache_is_no_storage(engine: str, direct: bool, past: bool) -> None:
    """fio takes `direct` beside `mmap`, and maps the page cache all the same."""
    job = {"read": way(1000), "write": {"total_ios": 0}, "error": 0, "usr_cpu": 1, "sys_cpu": 1}
    text = json.dumps({"fio version": "fio-3", "jobs": [job]}, indent=1)
    found = fio.parse(text, Fio.model_validate({"engine": engine, "direct": direct}))
    assert (found.cache == "none", not found.reasons) == (past, past)


def test_a_file_system_in_memory_is_no_storage(tmp_path: Path) -> None:
    assert fio.in_memory(Path("/dev/shm")) and not fio.in_memory(Path("/proc"))


def test_a_device_has_no_file_system_under_it() -> None:
    """/dev is a file system in memory, and is not what is measured."""
    recipe = parse_bench(
        f"{HEAD}target: {{api: fio}}\nload: {{arrivals: closed}}\nworkload: {{fio: {{device: /dev/sda}}}}\n",
        "r.yaml",
    )
    facts = fio.TARGET.service(recipe, Place(LocalGate(), Path("/tmp"))).start()
    assert facts == {"where": "/dev/sda"}


# --- cold reads ---------------------------------------------------------------------------------------


def test_what_memory_still_holds_was_not_read_cold() -> None:
    answer = {"save": [1.0], "sync": [0.5], "load": [0.5], "bytes": 2**20, "version": "2"}
    assert checkpoint.judge(answer | {"kept": 0.0}, Checkpoint()).cache == "cold"
    found = checkpoint.judge(answer | {"kept": 1.0}, Checkpoint())
    assert (
        found.cache == "warm" and "100% of what was to be read cold was in memory still" in found.reasons[0]
    )
    assert checkpoint.judge(answer | {"kept": 0.0}, Checkpoint(cold=False)).cache == "warm"


# --- scheduler ----------------------------------------------------------------------------------------


class Cluster:
    """A Slurm that runs jobs at once, but of the jobs that say when they start every other one alone."""

    def __init__(self, every: int = 2) -> None:
        self._every, self.jobs_run = every, 0

    def submit(self, text: str, name: str, folder: Path) -> int:
        if "date" in text:
            self.jobs_run += 1
            if self.jobs_run % self._every == 0:
                LocalGate().run(Command(("sh", "-c", text)))
        return self.jobs_run

    def jobs(self) -> list[object]:
        return []

    def cancel_named(self, name: str) -> None:
        return

    def waiting_or_running(self, name: str) -> list[object]:
        return []


def test_jobs_that_did_not_start_cost_the_others_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "_PATIENCE", 0.5)
    monkeypatch.setattr(scheduler, "slurm_of", lambda recipe, place: Cluster())
    recipe = parse_bench(
        f"{HEAD}target: {{api: scheduler}}\nload: {{arrivals: closed, clients: 2}}\n"
        "workload: {scheduler: {jobs: 6, array: 5}}\n",
        "r.yaml",
    )
    share = tmp_path / "a share"
    share.mkdir()
    found = scheduler.measure(recipe, Place(LocalGate(), tmp_path, share=share), 1)
    assert (found.good, found.errors) == (3, {"did not start": 3}) and len(found.histograms["start"]) == 3
    assert not list(share.iterdir())


def test_jobs_that_slurm_refuses_leave_nothing_in_the_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Cluster, text: str, name: str, folder: Path) -> int:
        if self.jobs_run == 2:
            raise CommandFailed("sbatch: error: Batch job submission failed")
        return Cluster.jobs_of(self, text, name, folder)

    monkeypatch.setattr(Cluster, "jobs_of", Cluster.submit, raising=False)
    monkeypatch.setattr(Cluster, "submit", refuse)
    monkeypatch.setattr(scheduler, "slurm_of", lambda recipe, place: Cluster(1))
    recipe = parse_bench(f"{HEAD}target: {{api: scheduler}}\nload: {{arrivals: closed}}\n", "r.yaml")
    (tmp_path / "share").mkdir()
    with pytest.raises(CommandFailed):
        scheduler.measure(recipe, Place(LocalGate(), tmp_path, share=tmp_path / "share"), 1)
    assert not list((tmp_path / "share").iterdir())


# --- pgbench on a server that is there ----------------------------------------------------------------


class Server(LocalGate):
    """Runs no pgbench: a server of somebody's, with or without pgbench's tables."""

    def __init__(self, tables: bool = False, dies: bool = False) -> None:
        self.tables, self.dies, self.asked = tables, dies, list[str]()

    def run(self, command: Command, *, check: bool = True) -> Completed:
        words = command.argv
        steps = next((word for word in words if word.startswith("--init-steps")), "")
        self.asked.append(steps or "run")
        if "t" in steps.removeprefix("--init-steps=") and self.tables:
            raise CommandFailed("pgbench ended", detail='ERROR:  relation "pgbench_accounts" already exists')
        if not steps:
            if self.dies:
                raise CommandFailed("pgbench ended", detail="server closed the connection unexpectedly")
            prefix = next(word for word in words if word.startswith("--log-prefix="))
            Path(f"{prefix.partition('=')[2]}.1").write_text(
                "\n".join(line(i / 100, 0.005) for i in range(9))
            )
        return Completed(command, 0, REPORT.format(tps=1, failed=0), "", 0.1)


@pytest.mark.parametrize("dies", [False, True])
def test_nothing_of_pgbench_stays_in_a_database_of_somebody(dies: bool, tmp_path: Path) -> None:
    recipe, gate = sql_recipe("workload: {sql: {server: dbname=theirs}}\n"), Server(dies=dies)
    with pytest.raises(CommandFailed) if dies else nullcontext():
        sql.measure(recipe, Place(gate, tmp_path), 1)
    assert gate.asked == ["--init-steps=t", "--init-steps=gvp", "run", "--init-steps=d"]


def test_tables_that_were_there_before_are_neither_used_nor_dropped(tmp_path: Path) -> None:
    recipe, gate = sql_recipe("workload: {sql: {server: dbname=theirs}}\n"), Server(tables=True)
    with pytest.raises(UsageError, match="has pgbench's tables already") as caught:
        sql.measure(recipe, Place(gate, tmp_path), 1)
    assert gate.asked == ["--init-steps=t"] and "--init-steps=d dbname=theirs" in (caught.value.todo or "")


@pytest.mark.parametrize("error", [KeyboardInterrupt(), TimedOut("the job did not begin")])
def test_nothing_is_dropped_before_anything_was_made(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether tables of those names are there and somebody's is not known yet."""
    asked: list[str] = []

    def run(self: Server, command: Command, *, check: bool = True) -> Completed:
        asked.extend(word for word in command.argv if word.startswith("--init-steps"))
        raise error

    monkeypatch.setattr(Server, "run", run)
    recipe = sql_recipe("workload: {sql: {server: dbname=theirs}}\n")
    with pytest.raises(type(error)):
        sql.measure(recipe, Place(Server(), tmp_path), 1)
    assert asked == ["--init-steps=t"]
