"""The shared folder: the same tests on this machine and behind a real SSH server with a shell and core utilities."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from login_node import LoginNode

from ai_how.errors import AiHowError, NotFound, UsageError
from ai_how.run import LocalShare, Share, SshShare


@dataclass(frozen=True)
class Place:
    """A share, and a folder in it whose name would trip a careless shell."""

    share: Share
    folder: Path


@pytest.fixture(params=["local", "ssh"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if request.param == "local":
        return Place(LocalShare(), tmp_path / "a $(touch x) 'b' \"c\"")
    login: LoginNode = request.getfixturevalue("login")
    return Place(SshShare(login.gate()), login.home / tmp_path.name / "a $(touch x) 'b' \"c\"")


class TestAnyShare:
    def test_what_is_written_is_read_for_its_owner_alone(self, place: Place) -> None:
        one, two = place.folder / "one.json", place.folder / "deep" / "er" / "two.json"
        place.share.write({one: '{"ü": 1}\n', two: ""})
        assert place.share.read(one) == '{"ü": 1}\n' and place.share.read(two) == ""
        assert [path.stat().st_mode & 0o777 for path in (one, two)] == [0o600, 0o600]
        assert [path.stat().st_mode & 0o777 for path in (place.folder, two.parent)] == [0o700, 0o700]

    def test_what_is_written_again_takes_the_place_of_the_old(self, place: Place) -> None:
        path = place.folder / "run.sh"
        place.share.write({path: "old\n"})
        place.share.write({path: "new\n"}, mode=0o700)
        assert place.share.read(path) == "new\n" and path.stat().st_mode & 0o777 == 0o700
        assert [entry.name for entry in place.folder.iterdir()] == ["run.sh"]

    def test_files_of_any_bytes_are_put_there(self, place: Place, tmp_path: Path) -> None:
        first, second = tmp_path / "first", tmp_path / "second"
        first.write_bytes(os.urandom(3_000_001))
        second.write_bytes(b"")
        place.share.put({place.folder / "a": first, place.folder / "b c": second})
        assert (place.folder / "a").read_bytes() == first.read_bytes()
        assert (place.folder / "b c").read_bytes() == b""
        assert (place.folder / "a").stat().st_mode & 0o777 == 0o600

    def test_all_that_match_come_at_once_and_drafts_do_not(self, place: Place) -> None:
        names = ("a.json", "b.json", ".draft.json", "a.secret")
        place.share.write({place.folder / name: f"in {name}\n\n" for name in names})
        found = place.share.read_all(place.folder, "*.json")
        assert found == {"a.json": "in a.json\n\n", "b.json": "in b.json\n\n"}
        assert place.share.read_all(place.folder, "*.none") == {}
        assert place.share.read_all(place.folder / "none", "*.json") == {}

    def test_the_last_lines_of_a_log(self, place: Place) -> None:
        place.share.write({place.folder / "log": "one\ntwo\nthree\n"})
        assert place.share.tail(place.folder / "log", 2) == "two\nthree"
        assert place.share.tail(place.folder / "log", 20) == "one\ntwo\nthree"
        assert place.share.tail(place.folder / "none", 2) == ""

    def test_a_growing_file_is_read_on(self, place: Place) -> None:
        path = place.folder / "log"
        assert place.share.read_on(path, 0) == b""
        place.share.write({path: "one\ntwo\n"})
        assert place.share.read_on(path, 0) == b"one\ntwo\n"
        assert place.share.read_on(path, 4) == b"two\n" and place.share.read_on(path, 8) == b""

    def test_a_file_and_a_whole_folder_are_brought_here(self, place: Place, tmp_path: Path) -> None:
        inside = {
            "one": os.urandom(70_001),
            "deep/er/two": b"",
            "deep/.hidden": b"3 x\n",
            "a b/'c'": b"no end",
        }
        source = tmp_path / "source"
        source.write_bytes(b"")
        for name, content in inside.items():
            source.write_bytes(content)
            place.share.put({place.folder / name: source})
        place.share.fetch(place.folder, tmp_path / "here")
        found = {path: (tmp_path / "here" / path).read_bytes() for path in inside}
        assert found == inside
        assert len([path for path in (tmp_path / "here").rglob("*") if path.is_file()]) == len(inside)
        place.share.fetch(place.folder / "one", tmp_path / "single")
        assert (tmp_path / "single").read_bytes() == inside["one"]
        with pytest.raises(NotFound, match="none is not there"):
            place.share.fetch(place.folder / "none", tmp_path / "none")

    def test_what_is_removed_is_gone_and_what_is_not_there_is_no_fault(self, place: Place) -> None:
        folder = place.folder / "whole"
        place.share.write({place.folder / "a": "", folder / "b": "", folder / "c" / "d": ""})
        place.share.remove(place.folder / "a", folder, place.folder / "none")
        assert list(place.folder.iterdir()) == []
        place.share.remove()

    def test_what_is_not_there_is_not_found(self, place: Place) -> None:
        with pytest.raises(NotFound, match=r"none\.json is not there"):
            place.share.read(place.folder / "none.json")

    def test_where_a_folder_should_be_is_a_file(self, place: Place) -> None:
        place.share.write({place.folder / "file": ""})
        with pytest.raises(AiHowError, match="cannot be written"):
            place.share.write({place.folder / "file" / "below": ""})
        assert [entry.name for entry in place.folder.iterdir()] == ["file"]


def test_what_the_far_side_would_read_otherwise_is_refused(login: LoginNode) -> None:
    share = SshShare(login.gate())
    for path in (login.home / "a\nb", login.home / "a "):
        with pytest.raises(UsageError, match="a path cannot have"):
            share.write({path: ""})
    with pytest.raises(UsageError, match="no pattern"):
        share.read_all(login.home, "*; touch x")


def test_two_who_bring_the_same_file_do_not_meet(place: Place, tmp_path: Path) -> None:
    """What another process has written of it up to now stays its own, under whatever name it does that."""
    place.share.write({place.folder / "a": "whole"})
    others = tmp_path / "here" / ".a.part"
    others.parent.mkdir()
    others.write_text("hal")
    place.share.fetch(place.folder / "a", tmp_path / "here" / "a")
    assert (tmp_path / "here" / "a").read_text() == "whole" and others.read_text() == "hal"
