"""The reconciler is told what is wanted, by commands and by the file, and what it sees is shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sample_replicas import NOW, ONE, TWO, FakeSlurm, wanted

from ai_how.errors import NotFound, UsageError
from ai_how.run import SystemClock
from ai_how.services import Layout
from ai_how.serving.replicas import Desired, ModelVersion, Replicas, SiteFolders, Store
from ai_how.serving.replicas.service import Ear
from ai_how.site import serving
from ai_how.site.resolve import Wish
from ai_how.spec import parse
from ai_how.spec.template import laptop

ASKED = Desired(model="tiny", current=ONE, said=1.0)


class Told:
    """A site with a reconciler that only listens."""

    def __init__(self, root: Path) -> None:
        self.folders, self.store, self.slurm = SiteFolders.of(root), Store(SiteFolders.of(root)), FakeSlurm()
        self.folders.run.mkdir(parents=True)
        self.ear = Ear(self.folders.demand)
        self.site: Any = SimpleNamespace(
            layout=Layout(root), slurm=self.slurm, clock=SystemClock(), exists=True, file=parse(laptop())
        )
        self.replicas = Replicas(self.folders, self.slurm)

    def ask(self, origin: Any, desired: Desired = ASKED) -> None:
        with self.store.change(origin) as models:
            models[desired.model] = desired

    def write(self, serving_part: str) -> None:
        self.site.file = parse(f"{laptop()}\nserving:\n  {serving_part}\n")


@pytest.fixture
def told(tmp_path: Path) -> Iterator[Told]:
    one = Told(tmp_path)
    yield one
    one.ear.close()


def test_what_a_command_asked_for_is_taken_away(told: Told) -> None:
    told.ask("command")
    told.replicas.write(wanted(7))
    done = serving.stop(told.site, "tiny")
    assert [one.job_id for one in done.replicas] == [7] and not done.replaced
    assert told.store.told() == {}
    with pytest.raises(NotFound, match="no model is served as 'tiny'"):
        serving.stop(told.site, "tiny")


def test_what_the_file_asks_for_is_stopped_until_the_next_up(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "resolve", lambda site, wish, progress: (wish.name, ONE))
    told.write("models: [{name: tiny, source: tiny}]")
    assert serving.settle(told.site, str) == []
    assert told.store.told()["tiny"].origin == "file"
    serving.stop(told.site, "tiny")
    assert told.store.told()["tiny"].origin == "command" and told.store.told()["tiny"].desired.stopped
    with pytest.raises(NotFound):
        serving.stop(told.site, "tiny")
    serving.settle(told.site, str)
    assert told.store.told()["tiny"].origin == "file" and not told.store.told()["tiny"].desired.stopped
    # Stopped, and then gone from the file: nothing is left of it.
    serving.stop(told.site, "tiny")
    told.write("models: []")
    serving.settle(told.site, str)
    assert told.store.told() == {}


def test_stopped_at_once_a_replica_has_had_its_time(told: Told) -> None:
    told.ask("command")
    told.replicas.write(wanted(7))
    serving.stop(told.site, "tiny", now=True)
    assert [one.draining for one in told.replicas.wanted()] == [0.0]


def test_one_replica_ends_by_its_job_and_is_replaced(told: Told) -> None:
    told.ask("command")
    told.replicas.write(wanted(7)), told.replicas.write(wanted(8))
    done = serving.stop(told.site, "7")
    assert done.replaced and [one.job_id for one in done.replicas] == [7]
    assert {one.job_id: one.leaving for one in told.replicas.wanted()} == {
        7: "somebody asked for its end",
        8: "",
    }
    assert "tiny" in told.store.told()


def test_a_model_that_cannot_be_found_is_served_as_it_was(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    found: dict[str, ModelVersion] = {"tiny": ONE}

    def resolve(site: Any, wish: Wish, progress: Any) -> tuple[str, ModelVersion]:
        if wish.reference not in found:
            raise NotFound(f"there is no model '{wish.reference}'")
        return str(wish.name), found[wish.reference]

    monkeypatch.setattr(serving, "resolve", resolve)
    told.write("models: [{name: tiny, source: tiny}, {name: ghost, source: ghost}]")
    assert serving.settle(told.site, str) == ["ghost is not served: there is no model 'ghost'"]
    ghost = told.store.told()["ghost"].desired
    assert ghost.current is None and ghost.fault == "there is no model 'ghost'"
    # Its registry is away at the next `up`: what is served goes on.
    found.clear()
    assert len(serving.settle(told.site, str)) == 2
    assert told.store.told()["tiny"].desired.current == ONE
    # And it is back, with another version.
    found["tiny"] = TWO
    serving.settle(told.site, str)
    tiny = told.store.told()["tiny"].desired
    assert (tiny.current, tiny.previous, tiny.fault) == (TWO, ONE, "")


def test_an_up_that_changes_nothing_says_nothing(told: Told, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "resolve", lambda site, wish, progress: (wish.name, ONE))
    told.write("models: [{name: tiny, source: tiny, replicas: {min: 0, max: 2}}]")
    serving.settle(told.site, str)
    before, scale = told.store.mark(), told.store.told()["tiny"].desired.scale
    assert (scale.minimum, scale.maximum, scale.idle) == (0, 2, 900.0)
    serving.settle(told.site, str)
    assert told.store.mark() == before


def test_without_a_reconciler_nothing_is_promised_and_nothing_is_certain(told: Told) -> None:
    told.store.show(
        {"at": NOW, "models": [], "replicas": [{"model": "tiny", "phase": "ready", "reason": ""}]}
    )
    told.ear.close()
    told.folders.demand.unlink()
    with pytest.raises(UsageError, match="is not up"):
        serving.stop(told.site, "tiny")
    shown = serving.ps(told.site)
    assert shown["replicas"][0]["phase"] == "unknown" and "does not run" in shown["problem"]
    told.site.exists = False
    with pytest.raises(UsageError, match="was never up"):
        serving.ps(told.site)
