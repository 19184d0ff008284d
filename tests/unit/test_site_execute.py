"""The executor: parallel, in order, all or nothing, and a journal that tells of it."""

from __future__ import annotations

import errno
import json
import resource
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ai_how.errors import AiHowError, StepFailed
from ai_how.run import SystemClock
from ai_how.services import Layout
from ai_how.site.execute import Executor
from ai_how.site.model import Action, Plan, Silent, Step
from ai_how.site.state import SiteState


class World:
    """Remembers what was done and taken back."""

    def __init__(self, root: Path) -> None:
        self.state = SiteState(Layout(root))
        self.state.make_folders(shared_with_accounts=False)
        self.said: list[str] = []
        self.failures: dict[str, BaseException] = {}
        self.broken_undos: set[str] = set()

    def perform(self, step: Step) -> Callable[[], None]:
        if step.target in self.failures:
            raise self.failures[step.target]
        self.said.append(step.target)

        def undo() -> None:
            if step.target in self.broken_undos:
                raise AiHowError("it will not go")
            self.said.append(f"-{step.target}")

        return undo

    def run(self, *steps: Step) -> None:
        Executor({Action.CREATE: self.perform}, self.state, Silent(), SystemClock()).run(Plan(steps))

    @property
    def journal(self) -> list[dict[str, Any]]:
        file = self.state.lock_path.with_name("journal.jsonl")
        return [json.loads(line) for line in file.read_text().splitlines()]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "site")


def create(target: str, *after: str) -> Step:
    return Step(Action.CREATE, target, "a test asks", tuple(f"create:{name}" for name in after))


def test_steps_wait_for_those_they_depend_on(world: World) -> None:
    world.run(create("c", "b"), create("b", "a"), create("a"))
    assert world.said == ["a", "b", "c"]
    assert [entry["event"] for entry in world.journal] == ["plan", *["start", "end"] * 3, "done"]
    assert [step["target"] for step in world.journal[0]["steps"]] == ["c", "b", "a"]


def test_independent_steps_run_at_once(world: World) -> None:
    both = threading.Barrier(2, timeout=60)
    performed = world.perform

    def meet(step: Step) -> Callable[[], None]:
        both.wait()
        return performed(step)

    world.perform = meet  # type: ignore[method-assign]
    world.run(create("a"), create("b"))
    assert sorted(world.said) == ["a", "b"]


def test_a_failure_takes_back_what_was_made_in_reverse_and_starts_nothing_more(world: World) -> None:
    world.failures["c"] = StepFailed("c is broken", where="here")
    with pytest.raises(StepFailed, match="c is broken") as caught:
        world.run(create("a"), create("b", "a"), create("c", "b"), create("d", "c"))
    assert caught.value.where == "here"
    assert world.said == ["a", "b", "-b", "-a"]
    events = [(entry["event"], entry.get("step")) for entry in world.journal]
    assert events[-4:] == [
        ("step-failed", "create:c"),
        ("undone", "create:b"),
        ("undone", "create:a"),
        ("failed", None),
    ]


def test_what_cannot_be_taken_back_is_told_and_the_rest_goes_on(world: World) -> None:
    world.failures["c"] = StepFailed("c is broken")
    world.broken_undos.add("b")
    with pytest.raises(StepFailed, match="c is broken"):
        world.run(create("a"), create("b", "a"), create("c", "b"))
    assert world.said[-1] == "-a"
    assert "not-undone" in [entry["event"] for entry in world.journal]


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (OSError(28, "No space left on device", "/data/x"), "could not create a: No space left on device"),
        (AiHowError("out of luck", cause="bad weather"), "could not create a: out of luck"),
    ],
)
def test_errors_of_the_machine_name_the_step(world: World, failure: BaseException, words: str) -> None:
    world.failures["a"] = failure
    with pytest.raises(StepFailed, match=words):
        world.run(create("a"))


def test_an_interrupt_takes_back_too(world: World) -> None:
    world.failures["b"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        world.run(create("a"), create("b", "a"))
    assert world.said == ["a", "-a"]


def test_a_full_disk_is_named_and_stops_nothing_from_being_taken_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(**facts: object) -> None:
        if facts["event"] not in ("plan", "start", "end"):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(world.state, "journal", full)
    monkeypatch.setattr("ai_how.host.disk.shortage", lambda folder: "the disk is full: 0 MiB are free")
    world.failures["b"] = StepFailed("b does not stay up", detail="its last words")
    with pytest.raises(StepFailed) as caught:
        world.run(create("a"), create("b", "a"))
    assert caught.value.message == "could not create b: the disk is full: 0 MiB are free"
    assert caught.value.where == str(world.state.folder)
    assert caught.value.cause == "b does not stay up" and caught.value.detail == "its last words"
    assert world.said == ["a", "-a"]


def test_a_line_of_the_journal_is_written_whole_or_not_at_all(world: World) -> None:
    world.state.journal(event="first")
    journal = world.state.lock_path.with_name("journal.jsonl")
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    former = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (journal.stat().st_size + 10, limit[1]))
        with pytest.raises(OSError, match="No space left|File too large"):
            world.state.journal(event="second")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        signal.signal(signal.SIGXFSZ, former)
    world.state.journal(event="third")
    assert [entry["event"] for entry in world.journal] == ["first", "third"]
