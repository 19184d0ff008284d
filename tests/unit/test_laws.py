"""The laws of the design that a check can hold."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ai_how import errors

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "ai_how"
FILES = sorted(PACKAGE.rglob("*.py"))
PURE_ROOMS = ("spec", "wire", "gpu", "draw")
EFFECTS = {
    "subprocess",
    "socket",
    "shutil",
    "tempfile",
    "urllib",
    "http",
    "httpx",
    "threading",
    "asyncio",
    "time",
}


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def room(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0]


def is_recipe(file: Path) -> bool:
    """Scripts of recipes and of benchmarks run in jobs, in environments of their own: they are nobody's room."""
    return bool({"recipes", "probes"} & set(file.parts))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_file_keeps_the_laws(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    tree = ast.parse(text)
    names = set(imported(tree))
    assert len(text.splitlines()) <= 400
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= 50, f"{node.name} has {length} lines"
    if room(file) != "run" and not is_recipe(file):
        assert "subprocess" not in names
    if room(file) in PURE_ROOMS:
        assert not names & EFFECTS


def test_every_error_has_a_code_of_its_own_and_is_in_the_reference() -> None:
    page = (ROOT / "docs/reference/exit-codes.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| (\d+) \| `(\w+)`", page, re.MULTILINE))
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.AiHowError)
    ]
    assert rows == {str(kind.exit_code): kind.__name__ for kind in kinds}
    assert len({kind.exit_code for kind in kinds}) == len(kinds)


def test_there_is_no_drawer_for_everything() -> None:
    drawers = {"utils", "helpers", "common", "manager", "misc"}
    assert not [file for file in FILES if drawers & set(file.relative_to(PACKAGE).with_suffix("").parts)]
