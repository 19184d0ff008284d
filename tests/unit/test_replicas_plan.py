"""From what was asked for and what is observed to the phase of each replica."""

from __future__ import annotations

from dataclasses import replace

import pytest
from sample_replicas import NOW, Job, record, wanted

from ai_how.serving.fit import Need
from ai_how.serving.replicas import Phase, plan
from ai_how.serving.replicas.plan import Facts
from ai_how.wire import EndpointRecord

WANTED = wanted(7)
OWN = record(WANTED.nonce)


@pytest.mark.parametrize(
    ("job", "found", "phase", "reason", "faulty"),
    [
        (Job(state="PENDING", reason="Resources", nodes=""), None, Phase.PENDING, "Resources", False),
        (Job(state="PENDING", reason="(null)", nodes=""), None, Phase.PENDING, "waits for its turn", False),
        (Job(state="CONFIGURING"), None, Phase.LOADING, "the engine is loading the model", False),
        (Job(), None, Phase.LOADING, "the engine is loading the model", False),
        (Job(), OWN, Phase.READY, "it answers", False),
        (Job(uid=0), OWN, Phase.READY, "it answers", False),
        # Another user's record under our nonce, and one of another job.
        (Job(uid=1000), OWN, Phase.LOADING, "its record is not of this job", False),
        (Job(), record(WANTED.nonce, 6), Phase.LOADING, "its record is not of this job", False),
        (Job(), record(WANTED.nonce, model="other"), Phase.LOST, "it serves other", True),
        (Job(), record(WANTED.nonce, heartbeat=NOW - 50), Phase.LOST, "no heartbeat for 50 s", True),
        (Job(state="SUSPENDED"), OWN, Phase.PENDING, "Slurm has suspended it", False),
        (Job(state="COMPLETING"), OWN, Phase.LOST, "it is ending", False),
        (Job(state="CANCELLED by 1000"), None, Phase.LOST, "its job ended: CANCELLED", False),
        (Job(state="NODE_FAIL"), None, Phase.LOST, "its job ended: NODE_FAIL", False),
        (Job(state="PREEMPTED"), None, Phase.LOST, "its job ended: PREEMPTED", False),
        (Job(state="TIMEOUT"), None, Phase.LOST, "its job ended: TIMEOUT", False),
        (Job(state="OUT_OF_MEMORY"), None, Phase.LOST, "its job ended: OUT_OF_MEMORY", True),
        (Job(state="FAILED", reason="Prolog"), None, Phase.LOST, "its job ended: FAILED (Prolog)", True),
        (Job(id=8), None, Phase.LOST, "Slurm holds no job 7 any more", False),
    ],
)  # fmt: skip
def test_the_phase_and_its_reason(
    job: Job, found: EndpointRecord | None, phase: Phase, reason: str, faulty: bool
) -> None:
    facts = Facts({job.id: job}, {WANTED.nonce: found} if found else {}, verified={WANTED.nonce})
    status = plan.judge(WANTED, facts, NOW)
    assert (status.phase, status.reason, status.faulty) == (phase, reason, faulty)


def test_an_engine_that_did_not_give_the_right_answer_is_not_ready() -> None:
    facts = Facts({7: Job()}, {WANTED.nonce: OWN}, faults={WANTED.nonce: "its engine does not list tiny"})
    status = plan.judge(WANTED, facts, NOW)
    assert (status.phase, status.reason) == (Phase.LOADING, "its engine does not list tiny")


def test_a_job_just_submitted_need_not_be_seen_yet() -> None:
    young = WANTED.model_copy(update={"submitted": NOW - 1})
    assert plan.judge(young, Facts({}, {}), NOW).phase is Phase.PENDING


def test_one_that_never_was_submitted() -> None:
    status = plan.judge(WANTED.model_copy(update={"job_id": None}), Facts({}, {}), NOW)
    assert (status.phase, status.reason) == (Phase.LOST, "it never was submitted")


def test_a_lost_job_id_is_found_again_by_the_folder_of_the_job() -> None:
    lost = WANTED.model_copy(update={"job_id": None})
    own = Job(9, work_dir=f"/site/share/replicas/{WANTED.nonce}")
    assert plan.adopt(lost, [Job(), Job(8), own]).job_id == 9
    assert plan.adopt(lost, [Job(), Job(8, work_dir="/site/share/replicas/" + "a" * 24)]).job_id is None
    assert plan.adopt(WANTED, [own]) is WANTED


def test_jobs_that_nobody_asked_for_are_known_by_their_folder() -> None:
    folder = "/site/share/replicas"
    ours = Job(1, work_dir=f"{folder}/{WANTED.nonce}")
    orphan = Job(2, work_dir=f"{folder}/{'a' * 24}")
    jobs = [
        ours, orphan, Job(3, work_dir="/home/ada"), Job(4, work_dir=f"/other/share/replicas/{'a' * 24}"),
        replace(orphan, id=5, state="COMPLETING"),
    ]  # fmt: skip
    assert [job.id for job in plan.orphans(jobs, {WANTED.nonce}, folder)] == [2]


def test_a_record_whose_job_does_not_run_is_stale() -> None:
    records = [record("a" * 24, 7), record("b" * 24, 8), record("c" * 24, 9)]
    jobs = {7: Job(), 8: Job(id=8, state="COMPLETED")}
    assert [one.job_id for one in plan.stale(records, jobs)] == [8, 9]


def test_silence_of_slurm_concludes_nothing() -> None:
    assert plan.could_not_tell(WANTED, "timed out").phase is Phase.UNKNOWN


def test_memory_grows_with_the_model() -> None:
    assert plan.memory_for(0, None) == "512M"
    assert plan.memory_for(4 * 2**30, None) == "5632M"


def test_a_long_context_is_asked_for_too() -> None:
    needed = Need(weights=4 * 2**30, cache=16 * 2**30, compute=2**30, runtime=1)
    assert plan.memory_for(4 * 2**30, needed) == "24167M"
