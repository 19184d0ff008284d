"""What is done next, as tables: (wanted, observed, clock) on one side, actions on the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from sample_replicas import NOW, ONE, TWO, Job, record, status

from ai_how.serving.replicas import Desired, Phase, ReplicaStatus, Scale
from ai_how.serving.replicas.decide import FAILURES, Decision, End, Note, Observed, Submit, decide, failure
from ai_how.serving.replicas.desired import Told
from ai_how.serving.replicas.scaling import Load, ModelMemory

HOUR = 3600.0


def wants(count: int = 1, **changes: object) -> Desired:
    scale = changes.pop("scale", Scale(minimum=count, maximum=max(count, 1)))
    facts: dict[str, object] = {"model": "tiny", "current": ONE, "scale": scale, **changes}
    return Desired.model_validate(facts)


def decided(
    desired: Desired | None,
    replicas: Sequence[ReplicaStatus] = (),
    memory: ModelMemory | None = None,
    *,
    load: Load | None = None,
    drained: Sequence[str] = (),
    certain: bool = True,
    now: float = NOW,
) -> Decision:
    told: Mapping[str, Told] = {"tiny": Told(desired, "file")} if desired else {}
    observed = Observed(replicas, {"tiny": load or Load()}, frozenset(drained), certain)
    return decide(told, observed, {"tiny": memory or ModelMemory(loads=(10.0,))}, now)


def done(decision: Decision) -> list[str]:
    """The actions in short: + a new one by its version, - an end, d a drain, m a mark, and the replica's number."""
    found = []
    for one in decision.actions:
        match one:
            case Submit():
                found.append(f"+{'two' if one.version == TWO else 'one'}")
            case End():
                found.append(f"-{int(one.nonce, 16)}")
            case Note():
                for key in one.changes:
                    if key != "leaving" or "draining" not in one.changes:
                        found.append(f"{key} {int(one.nonce, 16)}")
    return found


def ending(number: int, seconds: float, **changes: object) -> ReplicaStatus:
    """A ready one whose time limit of four hours is reached in so many seconds."""
    job = Job(number, start=int(NOW + seconds - 4 * HOUR), end=int(NOW + seconds))
    return status(number, job=job, **changes)  # type: ignore[arg-type]


LEAVING = {"leaving": "its time limit is near"}
DRAINING = {"leaving": "its time limit is near", "draining": NOW - 5}
PENDING, LOADING, READY, LOST = Phase.PENDING, Phase.LOADING, Phase.READY, Phase.LOST


@pytest.mark.parametrize(
    ("count", "replicas", "actions"),
    [
        (1, [], ["+one"]),
        (3, [], ["+one", "+one", "+one"]),
        (1, [status(1, PENDING)], []),
        (1, [status(1, LOADING)], []),
        (1, [status(1)], []),
        (2, [status(1)], ["+one"]),
        # Too many: those that wait go before those that load, these before those that answer.
        (1, [status(1), status(2, LOADING), status(3, PENDING)], ["-3", "-2"]),
        (1, [ending(1, 3 * HOUR), ending(2, 2 * HOUR)], ["draining 2"]),
        (1, [status(1), status(2, **DRAINING)], []),
        (1, [status(1), status(2, drained=True, **DRAINING)], ["-2"]),
        (1, [status(1), status(2, LOADING, **DRAINING)], ["-2"]),
        # What it holds it may end, but not for ever.
        (1, [status(1), status(2, requests=1, leaving="x", draining=NOW - 601)], ["-2"]),
    ],
)
def test_as_many_as_are_wanted(count: int, replicas: list[ReplicaStatus], actions: list[str]) -> None:
    assert done(decided(wants(count), replicas)) == actions


# Its lead is 10 s for the load and 120 s to spare.
@pytest.mark.parametrize(
    ("replicas", "actions"),
    [
        ([ending(1, 131)], []),
        ([ending(1, 129)], ["leaving 1", "+one"]),
        ([ending(1, 100, **LEAVING)], ["+one"]),
        ([ending(1, 100, **LEAVING), status(2, PENDING)], []),
        ([ending(1, 5, **LEAVING), status(2, PENDING)], []),
        ([ending(1, 5, **LEAVING), status(2, LOADING)], []),
        # Ready, but the gateway may not have seen it yet.
        ([ending(1, 60, **LEAVING), status(2, readied=NOW - 0.1)], []),
        ([ending(1, 60, **LEAVING), status(2, readied=NOW - 0.6)], ["draining 1"]),
        ([ending(1, 60, **DRAINING), status(2)], []),
        # No limit at all.
        ([status(1, job=Job(1, start=int(NOW), end=0))], []),
        # A short life: the first half of it is its own, or replacing would never end.
        ([status(1, job=Job(1, start=int(NOW - 20), end=int(NOW + 40)))], []),
        ([status(1, job=Job(1, start=int(NOW - 31), end=int(NOW + 29)))], ["leaving 1", "+one"]),
    ],
)
def test_another_comes_before_the_time_limit(replicas: list[ReplicaStatus], actions: list[str]) -> None:
    assert done(decided(wants(), replicas)) == actions


@pytest.mark.parametrize(
    ("memory", "pending", "left", "leaves"),
    [
        (ModelMemory(loads=(10.0,)), 0, 131, False),
        (ModelMemory(loads=(10.0, 90.0)), 0, 209, True),
        (ModelMemory(loads=(10.0,), waits=(600.0, 5.0)), 0, 729, True),
        (ModelMemory(loads=(10.0,), waits=(600.0, 5.0)), 0, 731, False),
        # What Slurm expects of one that waits right now counts as well.
        (ModelMemory(loads=(10.0,)), 1000, 1129, True),
        # Never loaded before: a minute is taken.
        (ModelMemory(), 0, 179, True),
    ],
)
def test_the_lead_is_wait_and_load_and_margin(
    memory: ModelMemory, pending: float, left: float, leaves: bool
) -> None:
    waiting = [status(9, PENDING, job=Job(9, state="PENDING", start=int(NOW + pending)))] if pending else []
    actions = done(decided(wants(2), [ending(1, left), *waiting], memory))
    assert ("leaving 1" in actions) is leaves


@pytest.mark.parametrize(
    ("replica", "nodes", "why"),
    [
        (status(1), ["node01"], "its node node01 is drained"),
        (status(1, LOADING), ["node01"], "its node node01 is drained"),
        (status(1), ["node02"], ""),
        (status(1, record=record("a" * 24, leaving=True)), [], "Slurm has told it that its end is near"),
        (status(1, PENDING, reason="it is suspended", job=Job(1, state="SUSPENDED")), [], "it is suspended"),
        (status(1, of=TWO), [], "another version is wanted"),
    ],
)  # fmt: skip
def test_why_one_has_to_go(replica: ReplicaStatus, nodes: list[str], why: str) -> None:
    actions = decided(wants(), [replica], drained=nodes).actions
    marks = [one for one in actions if isinstance(one, Note) and "leaving" in one.changes]
    assert [one.changes["leaving"] for one in marks] == ([why] if why else [])
    assert ("+one" in done(decided(wants(), [replica], drained=nodes))) is bool(why)


def test_an_upgrade_is_one_after_another_and_never_fewer_than_wanted() -> None:
    desired = wants(4, current=TWO, previous=ONE)
    old = [status(number, leaving="another version is wanted") for number in range(1, 5)]
    # A quarter more at once.
    assert done(decided(desired, old)) == ["+two"]
    assert done(decided(desired, [*old, status(5, LOADING, TWO)])) == []
    assert done(decided(desired, [*old, status(5, of=TWO)])) == ["+two", "draining 1"]
    three = [*old[1:], status(5, of=TWO), status(6, of=TWO)]
    assert done(decided(desired, three)) == ["+two", "draining 2"]
    assert done(decided(desired, [status(5, LOADING), *[status(n, of=TWO) for n in range(6, 10)]])) == [
        "leaving 5",
        "-5",
    ]


def test_where_old_ones_are_missing_the_new_ones_are_not_held_back() -> None:
    desired = wants(4, current=TWO)
    assert done(decided(desired, [status(1, leaving="x")])) == ["+two", "+two", "+two"]


def test_a_canary_beside_those_that_stay() -> None:
    desired = wants(2, canary=TWO)
    both = [status(1), status(2)]
    assert done(decided(desired, both)) == ["+two"]
    assert done(decided(desired, [*both, status(3, of=TWO)])) == []
    # Taken back: it goes at once, for those that stay are enough.
    assert done(decided(wants(2), [*both, status(3, of=TWO)])) == ["leaving 3", "draining 3"]
    # Promoted: it is the first of the new ones.
    assert done(decided(wants(2, current=TWO), [*both, status(3, of=TWO)])) == [
        "leaving 1", "leaving 2", "+two", "draining 1",
    ]  # fmt: skip


def test_what_nobody_wants_any_more_drains_and_ends() -> None:
    for desired in (None, wants(stopped=True), wants(current=None)):
        assert done(decided(desired, [status(1), status(2, LOADING), status(3, PENDING)])) == [
            "-3", "-2", "draining 1",
        ]  # fmt: skip
        assert done(decided(desired, [status(1, drained=True, **DRAINING)])) == ["-1"]


def test_while_slurm_is_silent_nothing_is_done() -> None:
    lost = status(1, LOST, faulty=True)
    decision = decided(wants(2), [lost], certain=False)
    assert decision.actions == () and decision.memory["tiny"].failures == 0


# --- failures -----------------------------------------------------------------------------------------


def test_after_a_crash_another_at_once_then_with_pauses_that_grow_then_no_more() -> None:
    memory, now, pauses = ModelMemory(), NOW, []
    for number in range(1, FAILURES + 1):
        crashed = status(number, LOST, faulty=True, reason="its job ended: FAILED")
        decision = decided(wants(), [crashed], memory, now=now)
        memory = decision.memory["tiny"]
        assert f"-{number}" in done(decision)
        pauses.append(memory.not_before - now)
        now = memory.not_before
        again = done(decided(wants(), [], memory, now=now))
        assert again == (["+one"] if number < FAILURES else [])
        if memory.not_before > NOW and number > 1:
            assert done(decided(wants(), [], memory, now=now - 0.1)) == []
    assert pauses[:4] == [0, 5, 10, 20]
    assert memory.failed == "5 failures in a row, the last one: its job ended: FAILED"
    # Said anew, it is tried anew.
    assert done(decided(wants(said=now), [], memory, now=now)) == ["+one"]


def test_pauses_are_bounded() -> None:
    memory = ModelMemory(failures=20)
    assert failure(memory, "x", NOW).not_before == NOW + 300


def test_health_makes_earlier_failures_forgotten() -> None:
    memory = ModelMemory(failures=3, reason="x", detail="y", target=1)
    assert decided(wants(), [status(1, readied=NOW - 59)], memory).memory["tiny"].failures == 3
    after = decided(wants(), [status(1, readied=NOW - 61)], memory).memory["tiny"]
    assert (after.failures, after.reason, after.detail) == (0, "", "")


def test_several_that_fall_together_are_one_failure() -> None:
    lost = [status(number, LOST, faulty=True) for number in range(1, 4)]
    memory = ModelMemory(failures=1)
    assert decided(wants(3), lost, memory).memory["tiny"].failures == 2


@pytest.mark.parametrize(
    ("replica", "failures"),
    [
        (status(1, LOST, faulty=True, readied=NOW - 500), 1),
        (status(1, LOST, readied=NOW - 500, job=Job(1, state="NODE_FAIL")), 0),
        (status(1, LOST, readied=NOW - 500, job=Job(1, state="TIMEOUT")), 0),
        (status(1, LOST, job=Job(1, state="CANCELLED")), 0),
        # It never answered within its time: that is a fault of the model's.
        (status(1, LOST, job=Job(1, state="TIMEOUT")), 1),
        (status(1, LOST, faulty=True, leaving="x", readied=NOW - 500), 0),
        (status(1, LOST, faulty=True, draining=NOW - 1, readied=NOW - 500), 0),
    ],
)
def test_what_counts_as_a_failure(replica: ReplicaStatus, failures: int) -> None:
    decision = decided(wants(), [replica])
    assert decision.memory["tiny"].failures == failures
    assert done(decision) == ["-1", "+one"]


# --- what is learnt -----------------------------------------------------------------------------------


def test_waits_and_loads_are_measured() -> None:
    memory = ModelMemory()
    job = Job(1, start=int(NOW - 40))
    decision = decided(wants(), [status(1, LOADING, job=job, started=None, submitted=NOW - 70)], memory)
    assert decision.memory["tiny"].waits == (30.0,)
    assert done(decision) == ["started 1"]
    ready = status(1, readied=None, started=NOW - 40, submitted=NOW - 70)
    decision = decided(wants(), [ready], decision.memory["tiny"])
    assert decision.memory["tiny"].loads == (40.0,) and done(decision) == ["readied 1"]


# --- sleeping and waking ------------------------------------------------------------------------------

SLEEPY = Scale(minimum=0, maximum=3, idle=900.0)


@pytest.mark.parametrize(
    ("memory", "load", "replicas", "actions"),
    [
        # Never asked for: it sleeps. A thousand requests wake one.
        (ModelMemory(), Load(), [], []),
        (ModelMemory(target=0), Load(waiting=1000, asked=NOW), [], ["+one"]),
        (ModelMemory(target=1), Load(waiting=1000, asked=NOW), [status(1, PENDING)], []),
        (ModelMemory(target=1), Load(waiting=1000, asked=NOW), [status(1, LOADING)], []),
        # Asked a while ago.
        (ModelMemory(target=1, asked=NOW - 899), Load(), [status(1)], []),
        (ModelMemory(target=1, asked=NOW - 901), Load(), [status(1)], ["draining 1"]),
        (ModelMemory(target=1, asked=NOW - 901), Load(active=1), [status(1)], []),
        (ModelMemory(target=1, asked=NOW - 901), Load(asked=NOW - 3), [status(1)], []),
        # It was on its way to sleep when somebody asked: a new one, for the old one gets nothing new.
        (ModelMemory(target=0), Load(waiting=1), [status(1, **DRAINING)], ["+one"]),
    ],
)
def test_sleep_and_wake(
    memory: ModelMemory, load: Load, replicas: list[ReplicaStatus], actions: list[str]
) -> None:
    assert done(decided(wants(scale=SLEEPY), replicas, memory, load=load)) == actions


def test_one_that_was_just_asked_for_by_command_is_awake() -> None:
    assert done(decided(wants(scale=SLEEPY, said=NOW - 5, awake=True))) == ["+one"]
    assert done(decided(wants(scale=SLEEPY, said=NOW - 901, awake=True))) == []


BUSY = Scale(minimum=1, maximum=4, queue=4, tokens=1000, up_after=3, down_after=60)


@pytest.mark.parametrize(
    ("memory", "load", "target", "since"),
    [
        # One holds 2 slots and 4 that wait.
        (ModelMemory(target=1), Load(active=2, waiting=4), 1, None),
        (ModelMemory(target=1), Load(active=2, waiting=5), 1, NOW),
        (ModelMemory(target=1, more_since=NOW - 2), Load(active=2, waiting=5), 1, NOW - 2),
        (ModelMemory(target=1, more_since=NOW - 3), Load(active=2, waiting=5), 2, None),
        (ModelMemory(target=1, more_since=NOW - 3), Load(active=2, waiting=500), 4, None),
        (ModelMemory(target=1, more_since=NOW - 3), Load(active=2, tokens=2500), 3, None),
        # It was less for a moment: the count begins again.
        (ModelMemory(target=1, more_since=NOW - 2), Load(active=2), 1, None),
        (ModelMemory(target=3), Load(active=2), 3, NOW),
        (ModelMemory(target=3, fewer_since=NOW - 59), Load(active=2), 3, NOW - 59),
        (ModelMemory(target=3, fewer_since=NOW - 60), Load(active=2), 1, None),
        (ModelMemory(target=9), Load(), 4, None),
    ],
)
def test_more_and_fewer_with_patience(
    memory: ModelMemory, load: Load, target: int, since: float | None
) -> None:
    replicas = [status(number) for number in range(1, (memory.target or 0) + 1)][:4]
    after = decided(wants(scale=BUSY), replicas, memory, load=load).memory["tiny"]
    assert after.target == target
    assert (after.more_since or after.fewer_since) == since
