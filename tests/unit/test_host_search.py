"""Looking for programs and libraries among what was unpacked."""

from __future__ import annotations

from pathlib import Path

from ai_how.host import search
from ai_how.host.programs import program


def test_a_library_is_found_though_nobody_may_execute_it(tmp_path: Path) -> None:
    library = tmp_path / "usr/lib/x86_64-linux-gnu/libgomp.so.1"
    library.parent.mkdir(parents=True)
    library.write_bytes(b"")
    library.chmod(0o644)
    assert search.unpacked(program("libgomp.so.1"), tmp_path) == library
    assert search.library_path(tmp_path, {}) == str(library.parent)


def test_a_program_must_be_executable(tmp_path: Path) -> None:
    path = tmp_path / "usr/sbin/munged"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"")
    path.chmod(0o644)
    assert search.unpacked(program("munged"), tmp_path) is None
    path.chmod(0o755)
    assert search.unpacked(program("munged"), tmp_path) == path


def test_the_launcher_notes_the_libraries_of_a_python_that_was_unpacked(tmp_path: Path) -> None:
    assert search.own_libraries(tmp_path) == "", "not made by the launcher"
    (tmp_path / ".ai-how").write_text("1 /env a:1:core.txt\n\n")
    assert search.own_libraries(tmp_path) == "", "a Python of the system"
    (tmp_path / ".ai-how").write_text("1 /env a:1:core.txt\n/home/ina/python/usr/lib\n")
    assert search.own_libraries(tmp_path) == "/home/ina/python/usr/lib"
