"""What stands in for GPUs, and where the data folder is."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_how.errors import AiHowError
from ai_how.host.folders import Folders, data_folder
from ai_how.host.inventory import nearest_existing, stand_ins, take_inventory


def test_numbered_consoles_come_first_and_terminals_in_use_never() -> None:
    names = ["zero", "tty", "tty0", "tty10", "tty2", "ttyS0", "null", "sda", "ptmx", "console"]
    found = stand_ins([Path("/dev") / name for name in names], lambda path: path.name != "sda")
    assert [path.name for path in found] == ["tty2", "tty10", "null", "zero"]


def test_this_machine_has_something(tmp_path: Path) -> None:
    inventory = take_inventory(tmp_path / "not" / "there")
    assert inventory.cpus >= 1 and inventory.memory > 0 and inventory.disk_free > 0
    assert inventory.hostname and inventory.user
    assert all(path.exists() for path in inventory.devices)


def test_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    assert nearest_existing(tmp_path / "a" / "b") == tmp_path


@pytest.mark.parametrize(
    ("environ", "folder"),
    [
        ({"AI_HOW_HOME": "/data/a", "XDG_DATA_HOME": "/x", "HOME": "/h"}, "/data/a"),
        ({"XDG_DATA_HOME": "/x", "HOME": "/h"}, "/x/ai-how"),
        ({"HOME": "/h"}, "/h/.local/share/ai-how"),
    ],
)
def test_where_the_data_folder_is(
    environ: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert data_folder(environ) == Path(folder)


def test_without_any_place_the_user_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    with pytest.raises(AiHowError, match="no place") as caught:
        data_folder({})
    assert caught.value.todo == "Set AI_HOW_HOME to a folder of yours."


def test_roots_data_lie_where_a_systems_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert data_folder({"HOME": "/root"}) == Path("/var/lib/ai-how")
    assert data_folder({"HOME": "/root", "AI_HOW_HOME": "/data"}) == Path("/data")


@pytest.mark.parametrize(("user", "mode"), [(0, 0o711), (1000, 0o700)])
def test_the_folders_are_closed_to_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, user: int, mode: int
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: user)
    folders = Folders(tmp_path / "home").make()
    for folder in (folders.home, folders.sites, folders.programs, folders.environments):
        assert folder.stat().st_mode & 0o777 == mode


def test_a_data_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AiHowError, match="cannot be made") as caught:
        Folders(tmp_path / "file" / "home").make()
    assert caught.value.where == str(tmp_path / "file" / "home")
