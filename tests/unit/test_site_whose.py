"""A folder that is no site's, or another's, is left alone; a site's is taken away by whoever holds its lock."""

from __future__ import annotations

import os
import shutil
import socket
from pathlib import Path

import pytest

from ai_how.errors import LockHeld, UsageError
from ai_how.host import Toolbox
from ai_how.run import FileLock
from ai_how.run.fake import ScriptedGate
from ai_how.services import Layout
from ai_how.site import control, open_site
from ai_how.site.control import Site
from ai_how.site.state import SiteState
from ai_how.spec.template import laptop


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AI_HOW_HOME", str(tmp_path / "home"))
    # No program is run here; asking each for its version takes its time.
    monkeypatch.setattr(Toolbox, "find", lambda self, name: None)
    monkeypatch.setattr(control, "LocalGate", lambda: ScriptedGate([(["scontrol", "ping"], (1, "", ""))]))
    path = tmp_path / "cluster.yaml"
    path.write_text(laptop())
    return path


@pytest.fixture
def site(file: Path, tmp_path: Path) -> Site:
    made = open_site(file, tmp_path / "root")
    made.state.make_folders(shared_with_accounts=False)
    made.state.set_identity(made.file.spec.name, made.path)
    return made


@pytest.mark.parametrize("verb", ["up", "destroy"])
def test_a_folder_with_something_of_somebodys_is_refused_and_kept(
    file: Path, tmp_path: Path, verb: str
) -> None:
    mine = tmp_path / "mine" / "thesis" / "chapter.tex"
    mine.parent.mkdir(parents=True)
    mine.write_text("")
    with pytest.raises(UsageError, match="no site's: thesis"):
        getattr(open_site(file, tmp_path / "mine"), verb)()
    assert [str(path.relative_to(tmp_path)) for path in (tmp_path / "mine").rglob("*.*")] == [
        "mine/thesis/chapter.tex"
    ]
    assert not (tmp_path / "mine" / "state").exists()


def test_the_site_of_another_file_is_not_destroyed(site: Site, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(laptop())
    with pytest.raises(UsageError, match="another site of the name"):
        open_site(other, tmp_path / "root").destroy()
    assert site.exists


def test_a_site_is_destroyed_under_its_lock(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[bool] = []

    def remove(state: SiteState) -> None:
        with pytest.raises(LockHeld):
            FileLock(state.lock_path, "up").__enter__()
        tried.append(True)
        remove_whole(state)

    remove_whole = SiteState.remove
    monkeypatch.setattr(SiteState, "remove", remove)
    site.destroy()
    assert tried and not site.layout.root.exists()


def test_what_is_cut_off_while_it_destroys_is_still_a_site(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    rmtree = shutil.rmtree

    def killed(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        site.state.remove()
    assert site.exists
    monkeypatch.setattr(shutil, "rmtree", rmtree)
    site.destroy()
    assert not site.layout.root.exists()


def test_a_lock_that_was_removed_with_its_site_is_nobodys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, flock = tmp_path / "state" / "lock", control.FileLock.__enter__.__globals__["fcntl"].flock
    removed: list[bool] = []

    def raced(*words: object) -> None:
        if not removed:
            removed.append(True)
            path.unlink()  # as the one who held it does, between our opening and our locking
        flock(*words)

    monkeypatch.setattr("fcntl.flock", raced)
    with FileLock(path, "up"):
        assert path.exists()
        monkeypatch.undo()
        with pytest.raises(LockHeld):
            FileLock(path, "up").__enter__()


def test_a_site_goes_down_though_a_port_of_its_file_is_taken(file: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        # Written into the file after the last `up`.
        file.write_text(file.read_text().replace("gateway: {}", f"gateway: {{port: {port}}}"))
        assert str(port) in file.read_text()
        site = open_site(file, tmp_path / "root")
        site.state.make_folders(shared_with_accounts=False)
        site.state.set_identity(site.file.spec.name, site.path)
        site.down()
        site.destroy()
    assert not site.layout.root.exists()


def test_folders_above_a_site_let_an_account_through_under_any_umask(tmp_path: Path) -> None:
    root = tmp_path / "a" / "b" / "site"
    before = os.umask(0o077)
    try:
        SiteState(Layout(root)).make_folders(shared_with_accounts=True)
    finally:
        os.umask(before)
    assert all(folder.stat().st_mode & 0o001 for folder in (root, root.parent, root.parent.parent))
