"""One real site, shared by the tests that need no other."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live_site import LiveSite, make_home


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """A data folder of the tests' own."""
    path = make_home()
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_site(home: Path) -> Iterator[LiveSite]:
    """A site of four nodes and all services; gone at the end, whatever happened."""
    site = LiveSite(home, "shared")
    try:
        site.up()
        yield site
        site.write()
        site.run("destroy", "--yes")
        assert not site.root.exists()
        assert site.processes() == {}
    finally:
        site.remove()


@pytest.fixture
def site(shared_site: LiveSite) -> LiveSite:
    """The shared site, whole again after whatever the test before did to it."""
    shared_site.write()
    if not shared_site.is_up():
        shared_site.run("up")
    return shared_site


@pytest.fixture
def new_site(home: Path) -> Iterator[Callable[[str], LiveSite]]:
    """Makes sites of the test's own, which were never up."""
    made: list[LiveSite] = []

    def make(name: str) -> LiveSite:
        made.append(LiveSite(home, name))
        return made[-1]

    yield make
    for one in made:
        one.remove()
