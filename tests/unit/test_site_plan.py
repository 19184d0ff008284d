"""The plan: what is decided from what was observed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from ai_how.errors import CouldNotTell
from ai_how.providers.model import Observation, Observed, State, Stray
from ai_how.services import Service
from ai_how.services.model import SocketProbe
from ai_how.site.model import Action, Plan
from ai_how.site.plan import make


def service(name: str, *after: str) -> Service:
    return Service(name, f"the purpose of {name}", (name,), SocketProbe(Path("/x")), after=after)


WANTED = (
    service("munged"),
    service("slurmdbd", "munged"),
    service("slurmctld", "munged", "slurmdbd"),
    service("slurmd-node01", "slurmctld"),
    service("slurmd-node02", "slurmctld"),
)


def running(one: Service, *, healthy: bool | None = True, digest: str | None = None) -> Observation:
    return Observation(one.name, State.RUNNING, healthy, 1, digest or one.digest, detail="why")


def observed(
    *changes: Observation, extra: Sequence[str] = (), strays: Sequence[Stray] = (), supervised: bool = True
) -> Observed:
    found = {one.name: running(one) for one in WANTED} | {one.name: one for one in changes}
    return Observed(found, tuple(extra), tuple(strays), supervised)


def work(plan: Plan) -> list[str]:
    return [step.id for step in plan.work]


def after(plan: Plan, step_id: str) -> set[str]:
    return set(next(step for step in plan.steps if step.id == step_id).after)


def test_what_is_as_asked_needs_nothing_and_says_so() -> None:
    plan = make(WANTED, observed(), {})
    assert plan.work == ()
    assert {step.target for step in plan.steps} == {"supervisord", "nodes", *(one.name for one in WANTED)}
    assert all(step.why for step in plan.steps)


def test_nothing_is_there_yet() -> None:
    found = [Observation(one.name, State.ABSENT) for one in WANTED]
    plan = make(WANTED, observed(*found, supervised=False), {"weed": "the object store"})
    assert work(plan)[:2] == ["install:weed", "open:supervisord"]
    assert after(plan, "open:supervisord") == {"install:weed"}
    assert after(plan, "create:slurmctld") == {"open:supervisord", "create:munged", "create:slurmdbd"}
    assert after(plan, "create:slurmd-node02") == {"open:supervisord", "create:slurmctld"}
    assert "create:slurmd-node01" in after(plan, "register:nodes")
    assert "reconfigure:slurmd" not in work(plan)


@pytest.mark.parametrize(
    ("found", "action"),
    [
        (Observation("munged", State.ABSENT), Action.CREATE),
        (Observation("munged", State.STOPPED), Action.START),
        (Observation("munged", State.FAILED, detail="gone"), Action.RESTART),
        (running(WANTED[0], healthy=False), Action.RESTART),
        (running(WANTED[0], digest="another"), Action.CHANGE),
    ],
)
def test_each_state_has_its_step(found: Observation, action: Action) -> None:
    plan = make(WANTED, observed(found), {})
    assert work(plan) == [f"{action}:munged"]


@pytest.mark.parametrize("found", [Observation("munged", State.UNKNOWN), running(WANTED[0], healthy=None)])
def test_what_could_not_be_told_is_never_guessed(found: Observation) -> None:
    with pytest.raises(CouldNotTell, match="munged"):
        make(WANTED, observed(found), {})


def test_a_node_that_joins_leaves_its_neighbours_running() -> None:
    joining = Observation("slurmd-node02", State.ABSENT)
    changed = running(WANTED[2], digest="with one node")
    plan = make(WANTED, observed(joining, changed), {})
    assert work(plan) == ["change:slurmctld", "create:slurmd-node02", "reconfigure:slurmd", "register:nodes"]
    assert after(plan, "create:slurmd-node02") == {"change:slurmctld"}
    assert "reconfigure:slurmd" in after(plan, "register:nodes")


def test_a_node_that_leaves_is_drained_first_and_the_controller_learns_last() -> None:
    changed = running(WANTED[2], digest="with three nodes")
    plan = make(WANTED, observed(changed, extra=["slurmd-node03"]), {})
    assert work(plan)[:3] == ["drain:slurmd-node03", "remove:slurmd-node03", "change:slurmctld"]
    assert after(plan, "remove:slurmd-node03") == {"drain:slurmd-node03"}
    assert "remove:slurmd-node03" in after(plan, "change:slurmctld")


def test_a_node_that_leaves_a_site_that_is_down_is_not_drained() -> None:
    stopped = [Observation(one.name, State.STOPPED) for one in WANTED]
    plan = make(WANTED, observed(*stopped, extra=["slurmd-node03"], supervised=False), {})
    assert work(plan)[:2] == ["open:supervisord", "remove:slurmd-node03"]
    assert after(plan, "remove:slurmd-node03") == {"open:supervisord"}
    assert "remove:slurmd-node03" in after(plan, "start:slurmctld")


def test_strays_are_swept_before_anything_is_opened() -> None:
    strays = [Stray(7, "mariadb"), Stray(8, "mariadb"), Stray(9, "munged")]
    found = [Observation(one.name, State.STOPPED) for one in WANTED]
    plan = make(WANTED, observed(*found, strays=strays, supervised=False), {})
    assert work(plan)[:2] == ["sweep:strays", "open:supervisord"]
    assert "mariadb, munged" in plan.work[0].why
    assert after(plan, "open:supervisord") == {"sweep:strays"}


def test_a_node_that_slurmctld_has_not_heard_of_yet_is_waited_for() -> None:
    plan = make(WANTED, observed(), {}, ["node02"])
    assert work(plan) == ["register:nodes"]
    assert "node02" in plan.work[0].why


def test_a_service_nobody_asks_for_is_removed() -> None:
    plan = make(WANTED, observed(extra=["old-service"]), {})
    assert work(plan) == ["remove:old-service"]


def test_nothing_begins_beside_strays_though_the_supervisor_lives() -> None:
    """What a killed `up` left may be an initdb that still writes where the next one is to write."""
    plan = make(WANTED, observed(Observation("munged", State.ABSENT), strays=[Stray(7, "munged")]), {})
    assert work(plan) == ["sweep:strays", "create:munged"]
    assert after(plan, "create:munged") == {"sweep:strays"}


def test_the_gateways_certificate_is_made_before_anything_that_needs_it() -> None:
    plan = make(
        WANTED, observed(Observation("munged", State.STOPPED)), {}, certificate=("it ends soon", "good")
    )
    assert work(plan) == ["certify:gateway-certificate", "start:munged"]
    assert "certify:gateway-certificate" in after(plan, "start:munged")
    plan = make(WANTED, observed(), {}, certificate=(None, "it is good"))
    assert work(plan) == []
    assert [step.why for step in plan.steps if step.target == "gateway-certificate"] == ["it is good"]
