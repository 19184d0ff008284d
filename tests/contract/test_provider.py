"""What every provider does: the same class for the one that runs processes and for the one in memory."""

from __future__ import annotations

import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from fake_provider import FakeProvider

from ai_how.errors import StepFailed
from ai_how.host.inventory import user_name
from ai_how.providers.local import LocalProvider
from ai_how.providers.model import Observation, Provider, State
from ai_how.run import Command, LocalGate
from ai_how.services import Initialisation, Layout, Service
from ai_how.services.model import PortProbe, aside
from ai_how.site.state import SiteState

#: Listens on a port, and notes in a file when it is told to end.
NOTES = """
import pathlib, signal, socket, sys, time

def end(*_):
    with open(sys.argv[2], "a") as notes:
        print(sys.argv[3], file=notes)
    time.sleep(0.3)
    sys.exit()

signal.signal(signal.SIGTERM, end)
listener = socket.create_server(("127.0.0.1", int(sys.argv[1])))
time.sleep(600)
"""
#: Listens on a port, and says so; ends at once when its first word is not a number.
LISTEN = (
    "import socket, sys, time; s = socket.create_server(('127.0.0.1', int(sys.argv[1]))); time.sleep(600)"
)


@pytest.fixture
def layout() -> Iterator[Layout]:
    root = Path(tempfile.mkdtemp(prefix="aih-", dir="/tmp"))
    made = Layout(root)
    SiteState(made).make_folders(shared_with_accounts=False)
    yield made
    shutil.rmtree(root)


@pytest.fixture(params=["local", "memory"])
def provider(request: pytest.FixtureRequest, layout: Layout) -> Iterator[Provider]:
    made: Provider = (
        LocalProvider(layout, LocalGate(), user_name()) if request.param == "local" else FakeProvider()
    )
    made.open()
    yield made
    made.close()


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@pytest.fixture
def service(layout: Layout) -> Service:
    port, data = free_port(), layout.data / "listener"
    return Service(
        "listener",
        "a test asks",
        (sys.executable, "-c", LISTEN, str(port)),
        PortProbe(port),
        initialisation=Initialisation(data, (Command(("mkdir", str(aside(data)))),)),
        start_seconds=20,
        stop_seconds=2,
    )


def broken(service: Service, provider: Provider) -> Service:
    """The same service, which ends as soon as it is started."""
    if isinstance(provider, FakeProvider):
        provider.broken.add(service.name)
    return replace(service, argv=(sys.executable, "-c", "raise SystemExit('no luck')"))


def look(provider: Provider, service: Service) -> Observation:
    return provider.observe([service]).services[service.name]


class TestAnyProvider:
    def test_a_life(self, provider: Provider, service: Service) -> None:
        assert look(provider, service).state is State.ABSENT
        provider.create(service)
        found = look(provider, service)
        assert (found.state, found.healthy, found.digest) == (State.RUNNING, True, service.digest)
        assert found.pid
        assert provider.observe([]).extra == ("listener",)
        provider.destroy("listener")
        assert provider.observe([]).extra == ()
        assert look(provider, service).state is State.ABSENT
        provider.destroy("listener")

    def test_after_closing_it_is_stopped_and_starts_again_with_its_data(
        self, provider: Provider, service: Service
    ) -> None:
        provider.create(service)
        provider.close()
        observed = provider.observe([service])
        assert not observed.supervised and observed.strays == ()
        assert observed.services["listener"].state is State.STOPPED
        provider.open()
        provider.create(service)
        assert look(provider, service).healthy

    def test_one_that_was_stopped_is_known_and_starts_again(
        self, provider: Provider, service: Service
    ) -> None:
        provider.create(service)
        provider.stop("listener")
        assert look(provider, service).state is State.STOPPED
        provider.stop("listener")
        provider.create(service)
        assert look(provider, service).healthy

    def test_opening_again_changes_nothing(self, provider: Provider, service: Service) -> None:
        provider.create(service)
        before = look(provider, service).pid
        undo = provider.open()
        undo()
        assert look(provider, service).pid == before

    def test_what_was_created_can_be_taken_back(self, provider: Provider, service: Service) -> None:
        undo = provider.create(service)
        undo()
        assert look(provider, service).state is State.ABSENT
        assert provider.observe([]).extra == ()

    def test_a_change_starts_it_anew_and_can_be_taken_back(
        self, provider: Provider, service: Service
    ) -> None:
        provider.create(service)
        before = look(provider, service).pid
        other = replace(service, env={"WORD": "another"})
        undo = provider.change(other)
        assert look(provider, other).digest == other.digest != service.digest
        assert look(provider, other).pid != before
        undo()
        assert look(provider, service).digest == service.digest

    def test_a_creation_that_fails_leaves_nothing(self, provider: Provider, service: Service) -> None:
        with pytest.raises(StepFailed, match="listener does not stay up"):
            provider.create(broken(service, provider))
        assert look(provider, service).state is State.ABSENT
        assert provider.observe([]).extra == ()

    def test_a_change_that_fails_brings_the_former_back(self, provider: Provider, service: Service) -> None:
        provider.create(service)
        with pytest.raises(StepFailed, match="listener does not stay up"):
            provider.change(broken(service, provider))
        found = look(provider, service)
        assert (found.state, found.digest) == (State.RUNNING, service.digest)

    def test_sweeping_leaves_what_is_supervised(self, provider: Provider, service: Service) -> None:
        provider.create(service)
        before = look(provider, service).pid
        provider.sweep()
        assert look(provider, service).pid == before


def test_closing_ends_each_after_those_that_need_it_and_the_others_at_once(
    layout: Layout, tmp_path: Path
) -> None:
    notes, program = tmp_path / "notes", tmp_path / "program.py"
    program.write_text(NOTES)

    def noting(name: str, *after: str) -> Service:
        port = free_port()
        argv = (sys.executable, str(program), str(port), str(notes), name)
        return Service(name, "a test asks", argv, PortProbe(port), after=after, start_seconds=20)

    services = [noting("database"), noting("controller", "database"), noting("a", "controller"), noting("b")]
    provider = LocalProvider(layout, LocalGate(), user_name())
    provider.open()
    for service in services:
        provider.create(service)
    provider.close(services)
    told = notes.read_text().split()
    assert set(told[:2]) == {"a", "b"} and told[2:] == ["controller", "database"]
    assert not provider.observe(services).supervised


def test_supervisord_finds_the_libraries_of_an_unpacked_python(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, service: Service
) -> None:
    python = tmp_path / "python"
    python.write_text(
        f'#!/bin/sh\n[ "$LD_LIBRARY_PATH" = /unpacked/lib ] || exit\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    (tmp_path / ".ai-how").write_text("1\n/unpacked/lib\n")
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setenv("LD_LIBRARY_PATH", "/of/whoever/calls")
    provider = LocalProvider(layout, LocalGate(), user_name())
    provider.open()
    try:
        assert provider.observe([service]).supervised
    finally:
        provider.close()


def test_supervisord_outlives_a_disk_on_which_it_can_write_nothing(layout: Layout, service: Service) -> None:
    for name in ("supervisord.out", "supervisord.log"):
        (layout.log / name).symlink_to("/dev/full")
    provider = LocalProvider(layout, LocalGate(), user_name())
    provider.open()
    try:
        provider.create(service)
        assert look(provider, service).state is State.RUNNING
    finally:
        provider.close()


def test_a_supervisord_that_does_not_start_is_told_of_at_once_with_what_it_said(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'libexpat.so.1: no such file'\nexit 127\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(StepFailed, match="supervisord ended as soon as it was started") as caught:
        LocalProvider(layout, LocalGate(), user_name()).open()
    assert "libexpat.so.1" in (caught.value.detail or "") and str(python) in (caught.value.where or "")
