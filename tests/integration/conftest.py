"""One real site, shared by the tests that need no other."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live_site import LiveSite, make_home

#: What tells this worker from the others of the run; nothing where there are none.
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
#: The shared site, once there is one.
SHARED: list[LiveSite] = []


@pytest.fixture(scope="session")
def home() -> Iterator[Path]:
    """A data folder of the tests' own: one for all workers of a run.

    A site chooses its ports around those that the other sites of its user have written down, up or not. In a folder of
    their own two workers would now and then choose the same, while one of them is down or only coming up.
    """
    path = make_home(run=os.environ.get("PYTEST_XDIST_TESTRUNUID"))
    mark = path / f"used-by-{WORKER}"
    mark.touch()
    yield path
    mark.unlink()
    if not list(path.glob("used-by-*")):
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_site(home: Path) -> Iterator[LiveSite]:
    """A site of four nodes and all services; gone at the end, whatever happened."""
    site = LiveSite(home, f"shared{WORKER}")
    try:
        site.up()
        SHARED.append(site)
        yield site
        SHARED.clear()
        site.write()
        site.run("destroy", "--yes")
        assert not site.root.exists()
        assert site.processes() == {}
    finally:
        site.remove()


@pytest.fixture(scope="module", autouse=True)
def nothing_left() -> Iterator[None]:
    """Whatever a file of tests has left to the shared site, a job or a model, is gone before the next file's begin."""
    yield
    for site in SHARED:
        site.settle()


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
