"""Slurm's answers, recorded from real daemons: one folder a version, and the folders are the matrix."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from ai_how.errors import CommandFailed, CouldNotTell
from ai_how.run.fake import ScriptedGate
from ai_how.slurm import parse
from ai_how.slurm.control import Slurm
from ai_how.slurm.model import Job

RECORDED = Path(__file__).parents[1] / "recorded" / "slurm"
VERSIONS = sorted(folder.name for folder in RECORDED.iterdir())


@pytest.fixture(params=VERSIONS)
def recorded(request: pytest.FixtureRequest) -> Path:
    return RECORDED / str(request.param)


def jobs_by_name(text: str) -> dict[str, Job]:
    return {job.name: job for job in parse.scontrol_jobs(text)}


def test_there_is_a_recording() -> None:
    assert {"22.05", "24.11"} <= {*VERSIONS}


def test_jobs_as_slurmctld_tells_of_them(recorded: Path) -> None:
    jobs = jobs_by_name((recorded / "scontrol-show-job.txt").read_text())
    assert jobs["two words"].completed and jobs["two words"].elapsed >= 3
    assert (jobs["fails"].state, jobs["fails"].exit_code) == ("FAILED", "3:0")
    assert (jobs["gpus"].state, jobs["gpus"].nodes, jobs["gpus"].ended) == ("RUNNING", "node03", False)
    assert (jobs["waits"].state, jobs["waits"].reason, jobs["waits"].nodes) == ("PENDING", "Dependency", "")
    assert jobs["waits"].start == 0
    assert jobs["cancelled"].state == "CANCELLED" and jobs["cancelled"].ended
    assert (jobs["requeued"].state, jobs["requeued"].restarts) == ("PENDING", 1)
    assert all(
        job.user == "root" and job.partition == "gpu" and job.time_limit == "01:00:00"
        for job in jobs.values()
    )
    assert all(abs(time.time() - job.submit) > 0 and job.submit > 1_500_000_000 for job in jobs.values())


def test_jobs_as_accounting_tells_of_them(recorded: Path) -> None:
    jobs = {job.name: job for job in parse.sacct_jobs((recorded / "sacct-jobs.txt").read_text())}
    assert jobs["two words"].completed and jobs["two words"].elapsed >= 3 and jobs["two words"].nodes
    assert jobs["fails"].exit_code == "3:0"
    assert jobs["gpus"].end == 0


def test_accounting_of_jobs_and_their_steps(recorded: Path) -> None:
    found = parse.accounting((recorded / "sacct-accounting.txt").read_text())
    first = found[min(found)]
    assert first.state == "COMPLETED" and first.elapsed_seconds >= 3
    assert 0 < first.cpu_seconds < 3
    assert 1_000_000 < first.max_rss_bytes < 1_000_000_000
    assert first.allocated["cpu"] == "2" and first.allocated["mem"] == "200M"
    assert any(entry.allocated.get("gres/gpu") == "1" for entry in found.values())
    assert {entry.state for entry in found.values()} >= {
        "COMPLETED",
        "FAILED",
        "CANCELLED",
        "RUNNING",
        "PENDING",
    }


def test_nodes(recorded: Path) -> None:
    nodes = {node.name: node for node in parse.nodes((recorded / "scontrol-show-node.txt").read_text())}
    assert sorted(nodes) == ["node01", "node02", "node03", "node04"]
    assert nodes["node03"].state == "MIXED" and nodes["node03"].usable
    assert nodes["node04"].flags == {"DRAIN"} and not nodes["node04"].usable
    assert nodes["node04"].reason.startswith("a long reason = here")


def test_the_id_of_a_submitted_job(recorded: Path) -> None:
    assert parse.submitted((recorded / "sbatch-parsable.txt").read_text()) > 0
    assert parse.submitted("17;hpc\n") == 17
    with pytest.raises(CouldNotTell, match="without a job id"):
        parse.submitted("Submitted batch job 17")


def test_whether_slurmctld_answers(recorded: Path) -> None:
    said = (recorded / "scontrol-ping.txt").read_text()
    assert Slurm(ScriptedGate([(["scontrol", "ping"], (0, said, ""))]), {}, {}).alive()
    assert not Slurm(
        ScriptedGate([(["scontrol", "ping"], (1, said.replace("UP", "DOWN"), ""))]), {}, {}
    ).alive()


def test_a_job_that_slurmctld_forgot_is_found_in_accounting(recorded: Path) -> None:
    unknown = (
        (recorded / "scontrol-show-job-unknown.out.txt").read_text(),
        (recorded / "scontrol-show-job-unknown.err.txt").read_text(),
    )
    history = (recorded / "sacct-jobs.txt").read_text().splitlines()[0] + "\n"
    gate = ScriptedGate([(["scontrol"], (1, *unknown)), (["sacct"], (0, history, ""))])
    job = Slurm(gate, {"SLURM_CONF": "/x"}, {"sacct": Path("/opt/sacct")}).job(1)
    assert job is not None and job.name == "two words"
    assert gate.commands[-1].argv[0] == "/opt/sacct" and gate.commands[-1].env == {"SLURM_CONF": "/x"}


def test_a_silent_slurmctld_is_not_taken_for_an_unknown_job() -> None:
    gate = ScriptedGate(
        [(["scontrol"], (1, "", "slurm_load_jobs error: Unable to contact slurm controller"))]
    )
    with pytest.raises(CouldNotTell, match="did not say how job 7 is"):
        Slurm(gate, {}, {}).job(7)


def test_what_sbatch_refuses_is_said_in_its_own_words() -> None:
    said = "sbatch: error: invalid partition specified: nowhere\nsbatch: error: Batch job submission failed\n"
    gate = ScriptedGate([(["sbatch"], (1, "", said))])
    with pytest.raises(CommandFailed, match="sbatch refused: invalid partition specified: nowhere"):
        Slurm(gate, {}, {}).submit("#!/bin/sh\n", "x", Path("/"))
    assert gate.commands[0].stdin == "#!/bin/sh\n"


@pytest.mark.parametrize(
    ("hostlist", "names"),
    [
        ("node01", ["node01"]),
        ("node[01-03,07]", ["node01", "node02", "node03", "node07"]),
        ("node[09-11],login", ["node09", "node10", "node11", "login"]),
        ("", []),
    ],
)
def test_hostlists(hostlist: str, names: list[str]) -> None:
    assert list(parse.expand(hostlist)) == names


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:00:05", 5), ("1-00:00:01", 86401), ("UNLIMITED", 0), ("N/A", 0)],
)
def test_durations(text: str, seconds: int) -> None:
    assert parse.duration(text) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"), [("00:01.500", 1.5), ("01:00:02", 3602), ("1-00:00:00", 86400), ("", 0)]
)
def test_cpu_times(text: str, seconds: float) -> None:
    assert parse.cpu_time(text) == seconds


@pytest.mark.parametrize(
    ("text", "size"), [("1696K", 1736704), ("1.5M", 1572864), ("2G", 2**31), ("", 0), ("12", 12)]
)
def test_sizes(text: str, size: int) -> None:
    assert parse.size(text) == size


def test_the_queue_as_squeue_tells_it() -> None:
    text = (
        "12|1000|RUNNING|1764366000|1764366005|1764394805|8:00:00|gpu|node01|/s/share/replicas/abab|None|serve-a|b\n"
        "13|1000|PENDING|1764366000|1764369600|1764398400|UNLIMITED|gpu||/home/ada|Resources|serve two\n"
        "14|1000|PENDING|2026-11-28T21:00:00|N/A|N/A|1-00:00:00|gpu||/home/ada|Priority|x\n"
        "15_[1-4]|1000|PENDING|N/A|N/A|N/A|1:00|gpu||/home/ada|None|array\n"
        "squeue: some message\n"
    )
    running, waiting, unsure = parse.squeue_jobs(text)
    assert (running.id, running.uid, running.state, running.nodes) == (12, 1000, "RUNNING", "node01")
    assert (running.name, running.reason) == ("serve-a|b", "")
    assert (running.start, running.end, running.work_dir) == (
        1764366005,
        1764394805,
        "/s/share/replicas/abab",
    )
    assert (waiting.start, waiting.reason, waiting.nodes) == (1764369600, "Resources", "")
    assert (unsure.start, unsure.end) == (0, 0) and unsure.submit > 0


WILD = ["a|b", "[/foo]", "a\nb", "x State=FAILED UserId=9", "|", "two  words ", "b|1\n"]


@pytest.mark.parametrize("name", WILD)
def test_a_job_may_have_any_name(recorded: Path, name: str) -> None:
    held = (recorded / "scontrol-show-job.txt").read_text().replace("JobName=fails", f"JobName={name}")
    kept = (recorded / "sacct-jobs.txt").read_text().replace("|fails|", f"|{name}|")
    for jobs in (list(parse.scontrol_jobs(held)), list(parse.sacct_jobs(kept))):
        [job] = [job for job in jobs if job.id == 2]
        assert (job.name, job.state, job.user, job.exit_code) == (name, "FAILED", "root", "3:0")
        assert {"two words", "gpus", "array"} <= {job.name for job in jobs}


def test_a_task_of_an_array_is_asked_for_as_slurm_names_it(recorded: Path) -> None:
    held = (recorded / "scontrol-show-job.txt").read_text()
    task = next(line for line in held.splitlines() if line.startswith("JobId=8 "))
    gate = ScriptedGate([(["scontrol"], (0, task + "\n", "")), (["scancel"], (0, "", ""))])
    slurm = Slurm(gate, {}, {})
    job = slurm.job("5_1")
    slurm.cancel("5_1")
    assert job is not None and (job.id, job.name) == (8, "array")
    assert [command.argv[-1] for command in gate.commands] == ["5_1", "5_1"]


@pytest.mark.parametrize(("said", "goes_on"), [("25_1\n", True), ("", False)])
def test_an_array_goes_on_as_long_as_any_task_does(said: str, goes_on: bool) -> None:
    """The last task to begin has the array's own number, and may end before the others."""
    gate = ScriptedGate([(["squeue"], (0, said, ""))])
    assert Slurm(gate, {}, {}).goes_on(25) is goes_on
    assert gate.commands[-1].argv[-1] == "--jobs=25"
