"""Slurm of somebody else's: what it tells of itself, what is asked of it, and how jobs are submitted there."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ai_how.errors import CommandFailed
from ai_how.providers.existing.reach import habits
from ai_how.run.fake import ScriptedGate
from ai_how.slurm import facts, parse
from ai_how.slurm.modules import loading
from ai_how.slurm.own import Habits, OwnSlurm, habitual
from ai_how.spec.provider import Existing, ExistingJobs

RECORDED = Path(__file__).parents[1] / "recorded" / "slurm"
#: Those versions that were asked as a guest.
VERSIONS = sorted(file.parent.name for file in RECORDED.glob("*/squeue-own.txt"))
SCRIPT = "#!/bin/bash\n#SBATCH --job-name=x\n#SBATCH --partition=mine\n\nset -u\ntrue\n"


@dataclass
class Watch:
    """A clock that stands still until it is told."""

    at: float = 0.0
    slept: list[float] = field(default_factory=list)

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at

    def sleep(self, seconds: float) -> None:
        self.at += seconds


@pytest.fixture(params=VERSIONS)
def recorded(request: pytest.FixtureRequest) -> Path:
    return RECORDED / str(request.param)


def test_there_is_a_recording() -> None:
    assert "22.05" in VERSIONS


def test_own_jobs_as_squeue_tells_of_them(recorded: Path) -> None:
    jobs = {job.name: job for job in parse.own_jobs((recorded / "squeue-own.txt").read_text())}
    runs, waits, fails = jobs["two|words here"], jobs["waits"], jobs["fails"]
    assert (runs.state, runs.nodes, runs.reason, runs.partition) == ("RUNNING", "node01", "", "gpu")
    assert 0 < runs.elapsed < 60 and runs.end - runs.start == 3600 and runs.work_dir.startswith("/")
    assert (waits.state, waits.reason, waits.nodes) == ("PENDING", "BeginTime", "")
    assert waits.start - waits.submit == 3600, "of one that waits it is when Slurm expects it"
    assert fails.ended and not fails.completed


def test_a_cluster_tells_of_itself(recorded: Path) -> None:
    (gpu, debug) = facts.partitions((recorded / "scontrol-show-partition.txt").read_text())
    assert (gpu.name, gpu.default, gpu.up, gpu.max_time, gpu.nodes) == ("gpu", True, True, "1-00:00:00", 2)
    assert (debug.default, debug.max_time, debug.accounts, debug.qos) == (False, "00:30:00", (), ())
    kinds = list(facts.kinds((recorded / "sinfo-kinds.txt").read_text()))
    assert [(kind.partition, kind.count, kind.cpus, kind.memory_mb, dict(kind.gpus)) for kind in kinds] == [
        ("gpu", 2, 2, 4096, {"a100": 2}),
        ("debug", 1, 2, 4096, {"a100": 2}),
    ]
    told = facts.associations((recorded / "sacctmgr-associations.txt").read_text())
    assert [(one.account, one.partition, one.qos) for one in told] == [
        ("site", "", ("normal",)),
        ("root", "", ("normal",)),
    ]
    assert facts.version((recorded / "sinfo-version.txt").read_text()).startswith(recorded.name)
    assert facts.cluster_name((recorded / "scontrol-show-config-part.txt").read_text()) == "hpc"


@pytest.mark.parametrize(
    ("gres", "found"),
    [
        ("gpu:a100:4(S:0-1)", {"a100": 4}),
        ("gpu:4", {"": 4}),
        ("gpu", {"": 1}),
        ("gpu:a100:2(S:0),gpu:a100_1g.5gb:7(S:1),shard:16", {"a100": 2, "a100_1g.5gb": 7}),
        ("craynetwork:4,gpu:v100:2", {"v100": 2}),
        ("gpu:tesla_v100", {"tesla_v100": 1}),
        ("(null)", {}),
        ("", {}),
        ("mygpu:3", {}),
    ],
)
def test_gpus_in_a_gres(gres: str, found: dict[str, int]) -> None:
    assert facts.gpus(gres) == found


class TestHabits:
    def test_stand_before_what_the_script_says_so_that_the_script_counts(self) -> None:
        told = Existing(
            host="x",
            jobs=ExistingJobs(
                account="p1", qos="default", partition="gpu", constraint="a100|h100", reservation="r",
                modules=("env/2023", "Apptainer"), options=("exclusive", "mail-type=FAIL"),
            ),
        )  # fmt: skip
        assert habitual(SCRIPT, habits(told)).splitlines() == [
            "#!/bin/bash",
            "#SBATCH --account=p1",
            "#SBATCH --qos=default",
            "#SBATCH --partition=gpu",
            "#SBATCH --constraint=a100|h100",
            "#SBATCH --reservation=r",
            "#SBATCH --exclusive",
            "#SBATCH --mail-type=FAIL",
            "#SBATCH --job-name=x",
            "#SBATCH --partition=mine",
            "",
            *loading(("env/2023", "Apptainer")),
            "set -u",
            "true",
        ]

    def test_without_any_the_script_stays_as_it_is(self) -> None:
        assert habitual(SCRIPT, Habits()) == SCRIPT


class TestAsking:
    def slurm(self, gate: ScriptedGate, watch: Watch) -> OwnSlurm:
        return OwnSlurm(gate, {}, Habits((("account", "p1"),)), watch, poll=5)

    def test_is_done_seldom_and_at_once_after_a_change(self) -> None:
        watch = Watch()
        gate = ScriptedGate(
            [(["squeue"], (0, "", "")), (["sbatch"], (0, "7\n", "")), (["scancel"], (0, "", ""))]
        )
        slurm = self.slurm(gate, watch)
        for _ in range(3):
            slurm.jobs()
        assert len(gate.commands) == 1
        watch.at = 5.0
        slurm.jobs()
        assert [command.argv[0] for command in gate.commands] == ["squeue", "squeue"]
        slurm.submit(SCRIPT, "x", Path("/there"))
        slurm.jobs()
        slurm.cancel(7)
        slurm.jobs()
        assert [command.argv[0] for command in gate.commands][2:] == ["sbatch", "squeue", "scancel", "squeue"]

    def test_concerns_own_jobs_alone_and_times_that_every_zone_reads_alike(self) -> None:
        gate = ScriptedGate([(["squeue"], (0, "", "")), (["sacct"], (0, "", ""))])
        slurm = self.slurm(gate, Watch())
        slurm.jobs(), slurm.history()
        assert "--me" in gate.commands[0].argv and "--allusers" not in gate.commands[1].argv
        assert all(command.env == {"SLURM_TIME_FORMAT": "%s"} for command in gate.commands)

    def test_a_cluster_without_accounting_has_no_history(self) -> None:
        said = (1, "", "Slurm accounting storage is disabled\n")
        slurm = self.slurm(ScriptedGate([(["sacct"], said)]), Watch())
        assert slurm.history() == [] and slurm.accounting([7]) == {}
        broken = self.slurm(ScriptedGate([(["sacct"], (1, "", "sacct: error: no connection\n"))]), Watch())
        with pytest.raises(CommandFailed, match="no connection"):
            broken.history()

    def test_why_no_job_would_be_taken(self) -> None:
        said = "sbatch: error: x\nallocation failure: Invalid account or account/partition combination specified\n"
        gate = ScriptedGate([(["sbatch", "--test-only"], (1, "", said))])
        why = self.slurm(gate, Watch()).may_submit()
        assert why == "Invalid account or account/partition combination specified"
        assert "#SBATCH --account=p1" in (gate.commands[0].stdin or "")
        gate = ScriptedGate([(["sbatch", "--test-only"], (0, "", "sbatch: Job 4 to start at ...\n"))])
        assert self.slurm(gate, Watch()).may_submit() == ""
