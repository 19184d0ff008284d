"""`ai-how usage`: the gateway's counts joined to Slurm's accounting."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ai_how.cli import main
from ai_how.errors import UsageError
from ai_how.run import Command, LocalGate
from ai_how.run.fake import ScriptedGate
from ai_how.serving.gateway.usage import Row, open_usage
from ai_how.serving.usage import Held, Sum, held, shares
from ai_how.slurm import parse
from ai_how.slurm.model import Life
from ai_how.spec.template import laptop

HOUR = 1_700_000_000 // 3600 * 3600

SACCT = """\
7|2026-01-01T00:00:00|2026-01-01T02:00:00|billing=4,cpu=4,gres/gpu:a100=2,gres/gpu=2,mem=4G,node=1
7|2026-01-01T03:00:00|Unknown|billing=4,cpu=4,gres/gpu:a100=2,mem=4G,node=1
7.batch|2026-01-01T03:00:00|Unknown|cpu=4
8|Unknown|Unknown|
9|2026-01-01T00:00:00|2026-01-01T01:00:00|billing=1,cpu=1,mem=4G,node=1
"""


def test_when_jobs_ran_and_what_they_held() -> None:
    start = parse.moment("2026-01-01T00:00:00")
    assert list(parse.lives(SACCT)) == [
        Life(7, start, start + 7200, cpus=4, gpus=2),
        Life(7, start + 10800, 0, cpus=4, gpus=2),
        Life(9, start, start + 3600, cpus=1, gpus=0),
    ]


@pytest.mark.parametrize(
    ("since", "until", "now", "hours"),
    [
        (0, 9e9, 18000, Held(2 * 2 + 2 * 2, 4 * 2 + 4 * 2)),
        (3600, 9e9, 18000, Held(2 * 1 + 2 * 2, 4 * 1 + 4 * 2)),
        (0, 12600, 18000, Held(2 * 2 + 2 * 0.5, 4 * 2 + 4 * 0.5)),
        (7200, 10800, 18000, Held(0, 0)),
    ],
)
def test_the_hours_of_a_job_within_a_period(since: float, until: float, now: float, hours: Held) -> None:
    lives = [Life(7, 0, 7200, 4, 2), Life(7, 10800, 0, 4, 2)]
    lives = [Life(one.job_id, one.start + 1, one.end and one.end + 1, one.cpus, one.gpus) for one in lives]
    assert held(lives, since + 1, until + 1, now + 1) == {"7": hours}


def row(
    owner: str, job: str, tokens: int, model: str = "tiny", *, hour: int = HOUR, requests: int = 1
) -> Row:
    return Row(hour, owner.lower(), owner, model, job, requests, 0, 0, tokens - tokens // 4, tokens // 4, 0)


def test_a_jobs_hours_are_shared_by_tokens() -> None:
    rows = [row("Ada", "7", 3000), row("Eve", "7", 1000), row("Eve", "8", 500, "other"), row("Bob", "9", 0)]
    hours = {"7": Held(8.0, 16.0), "8": Held(0.0, 1.0), "9": Held(2.0, 2.0)}
    found = {one.key: one for one in shares(rows, hours, ["user"])}
    assert list(found) == [("Ada",), ("Eve",), ("Bob",)]
    assert found["Ada",].gpu_hours == pytest.approx(6.0) and found["Eve",].gpu_hours == pytest.approx(2.0)
    assert found["Eve",].cpu_hours == pytest.approx(5.0) and found["Bob",].gpu_hours == pytest.approx(2.0)
    assert found["Ada",].gpu_hours_per_million == pytest.approx(2000.0)
    assert found["Bob",].gpu_hours_per_million is None
    by_model = {one.key: one.gpu_hours for one in shares(rows, hours, ["model", "user"])}
    assert by_model["tiny", "Eve"] == pytest.approx(2.0) and by_model["other", "Eve"] == 0.0


def test_hours_of_jobs_that_nobody_knows_are_not_made_up() -> None:
    (one,) = shares([row("Ada", "7", 10)], {}, ["user"])
    assert (one.gpu_hours, one.gpu_hours_per_million, one.prompt) == (None, None, 8)


def test_days_come_in_their_order() -> None:
    rows = [row("Ada", "7", 10, hour=HOUR + day * 86400) for day in (2, 0, 1)]
    found = [one.key[0] for one in shares(rows, {}, ["day"])]
    assert found == sorted(found) and len(found) == 3
    assert shares([], {}, ["day"]) == ()
    assert Sum(("x",)).as_json(["user"])["user"] == "x"


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site's folder, as a first `up` leaves it, and what the gateway has counted since."""
    (tmp_path / "cluster.yaml").write_text(laptop("site"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AI_HOW_ROOT", str(tmp_path / "root"))
    monkeypatch.delenv("AI_HOW_FILE", raising=False)
    (tmp_path / "root" / "state").mkdir(parents=True)
    (tmp_path / "root" / "state" / "site.json").write_text("{}")
    database = open_usage(tmp_path / "root" / "state" / "usage.db")
    hour = int(time.time()) // 3600 * 3600 - 3600
    rows = [
        row("Ada", "7", 3000, hour=hour),
        row("Eve", "7", 1000, hour=hour),
        row("Eve", "99", 40, hour=hour),
    ]
    with database:
        database.executemany(f"insert into usage values ({','.join('?' * 11)})", rows)
    database.close()
    return tmp_path / "root"


@pytest.fixture
def sacct(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Slurm's accounting, which answers what it is given."""

    def set_answer(*answer: Any) -> None:
        gate = ScriptedGate([(["sacct"], answer)])

        def run(self: LocalGate, command: Command, *, check: bool = True) -> Any:
            return gate.run(command, check=check)

        monkeypatch.setattr(LocalGate, "run", run)

    return set_answer


def facts(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    assert main(["usage", *words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def began(hours: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(time.time() - hours * 3600))


def test_usage_of_a_site(site: Path, sacct: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    sacct(0, f"7|{began(4)}|Unknown|cpu=4,gres/gpu=1\n", "")
    found = facts(capsys, "--by", "user")
    assert [(one["user"], one["prompt"] + one["completion"]) for one in found["usage"]] == [
        ("Ada", 3000),
        ("Eve", 1040),
    ]
    assert found["usage"][0]["gpu_hours"] == pytest.approx(3.0, rel=0.01)
    assert found["total"]["gpu_hours"] == pytest.approx(4.0, rel=0.01) and found["unknown_jobs"] == ["99"]
    (eve,) = facts(capsys, "--by", "model", "--user", "Eve", "--job", "7")["usage"]
    assert eve["gpu_hours"] == pytest.approx(1.0, rel=0.01) and "user" not in eve
    assert facts(capsys, "--until", "2020-01-02")["usage"] == []
    assert main(["usage"]) == 0
    said = capsys.readouterr()
    assert "3,000" not in said.out and "2,250" in said.out and "4.00" in said.out and "99" in said.err


def test_without_slurm_the_counts_are_told_all_the_same(
    site: Path, sacct: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    sacct(1, "", "sacct: error: slurmdbd does not answer")
    found = facts(capsys)
    assert found["total"]["requests"] == 3 and found["total"]["gpu_hours"] is None
    assert "sacct" in found["could_not_tell"] and found["unknown_jobs"] == []


def test_a_period_that_ends_before_it_begins(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "before it begins" in facts(capsys, "--days", "-1", code=UsageError.exit_code)["message"]
    with pytest.raises(SystemExit):
        main(["usage", "--since", "yesterday"])


def test_a_site_that_was_never_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cluster.yaml").write_text(laptop("site"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AI_HOW_ROOT", str(tmp_path / "root"))
    assert "never up" in facts(capsys, code=UsageError.exit_code)["message"]
