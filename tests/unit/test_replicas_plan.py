"""From what was asked for and what is observed to the phase of each replica."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from ai_how.serving.fit import Need
from ai_how.serving.replicas import Phase, ReplicaWanted, plan
from ai_how.wire import EndpointRecord

NONCE = "ab" * 12


@dataclass(frozen=True)
class Job:
    id: int = 7
    name: str = "serve-tiny"
    state: str = "RUNNING"
    reason: str = "None"
    nodes: str = "node01"


WANTED = ReplicaWanted(
    nonce=NONCE,
    model="tiny",
    engine="llama.cpp",
    job_name="serve-tiny",
    job_id=7,
    submitted=100.0,
    log="/site/log/jobs/serve-tiny-%j.log",
)


def record(heartbeat: float = 200.0, nonce: str = NONCE, job_id: int = 7) -> EndpointRecord:
    return EndpointRecord(
        version="1.0", model="tiny", host="127.0.0.1", port=4000, job_id=job_id, nonce=nonce, uid=0,
        engine="llama.cpp", started=150.0, heartbeat=heartbeat,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("job", "records", "phase", "reason"),
    [
        (Job(state="PENDING", reason="Resources", nodes=""), [], Phase.PENDING, "Resources"),
        (Job(state="PENDING", reason="(null)", nodes=""), [], Phase.PENDING, "waits for its turn"),
        (Job(state="CONFIGURING"), [], Phase.LOADING, "the engine is loading the model"),
        (Job(), [], Phase.LOADING, "the engine is loading the model"),
        (Job(), [record()], Phase.READY, "it answers"),
        (Job(), [record(nonce="cd" * 12)], Phase.LOADING, "the engine is loading the model"),
        (Job(), [record(job_id=6)], Phase.LOADING, "the engine is loading the model"),
        (Job(), [record(heartbeat=160.0)], Phase.LOST, "no heartbeat for 50 s"),
        (Job(state="SUSPENDED"), [record()], Phase.PENDING, "Slurm has suspended it"),
        (Job(state="COMPLETING"), [record()], Phase.LOST, "it is ending"),
        (Job(state="CANCELLED by 1000"), [], Phase.LOST, "its job ended: CANCELLED"),
        (
            Job(state="FAILED", reason="NonZeroExitCode"),
            [],
            Phase.LOST,
            "its job ended: FAILED (NonZeroExitCode)",
        ),
        (Job(id=8), [], Phase.LOST, "Slurm holds no job 7 any more"),
    ],
)
def test_the_phase_and_its_reason(job: Job, records: list[EndpointRecord], phase: Phase, reason: str) -> None:
    status = plan.judge(WANTED, [job], records, now=210.0)
    assert (status.phase, status.reason) == (phase, reason)


def test_a_job_just_submitted_need_not_be_seen_yet() -> None:
    assert plan.judge(WANTED, [], [], now=101.0).phase is Phase.PENDING


def test_one_that_never_was_submitted() -> None:
    status = plan.judge(WANTED.model_copy(update={"job_id": None}), [], [], now=210.0)
    assert (status.phase, status.reason) == (Phase.LOST, "it never was submitted")


def test_a_lost_job_id_is_found_again() -> None:
    lost = WANTED.model_copy(update={"job_id": None})
    assert plan.adopt(lost, [Job()], []).job_id == 7
    assert plan.adopt(lost, [Job(), Job(id=8)], [record(job_id=8)]).job_id == 8
    assert plan.adopt(lost, [Job(), Job(id=8)], []).job_id is None
    assert plan.adopt(lost, [Job(name="train-digits")], []).job_id is None


def test_a_record_whose_job_does_not_run_is_stale() -> None:
    records = [record(job_id=7), record(job_id=8, nonce="cd" * 12), record(job_id=9, nonce="ef" * 12)]
    jobs = [Job(), Job(id=8, state="COMPLETED")]
    assert [one.job_id for one in plan.stale(records, jobs)] == [8, 9]


def test_silence_of_slurm_concludes_nothing() -> None:
    assert plan.could_not_tell(WANTED, "timed out").phase is Phase.UNKNOWN


def test_memory_grows_with_the_model() -> None:
    assert plan.memory_for(0, None) == "512M"
    assert plan.memory_for(4 * 2**30, None) == "5632M"


def test_a_long_context_is_asked_for_too() -> None:
    needed = Need(weights=4 * 2**30, cache=16 * 2**30, compute=2**30, runtime=1)
    assert plan.memory_for(4 * 2**30, needed) == "24167M"


def test_what_a_target_means() -> None:
    other = WANTED.model_copy(update={"job_id": 8, "nonce": "cd" * 12})
    seven = WANTED.model_copy(update={"model": "7", "job_id": 9, "nonce": "ef" * 12})
    everyone = (WANTED, other, seven)
    assert plan.select(everyone, "tiny") == (WANTED, other)
    assert plan.select(everyone, "8") == (other,)
    assert plan.select(everyone, "7") == (WANTED,)
    assert plan.select(everyone, "nothing") == ()
