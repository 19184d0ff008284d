"""The documentation builds without a warning and asks nobody on the web for anything."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from ai_how.cli import COMMANDS
from ai_how.run import Command, LocalGate

ROOT = Path(__file__).parents[2]
# What a browser fetches by itself; a link that somebody follows is another matter.
FETCHED = re.compile(r"""<(?:script|img|link|iframe)\b[^>]*?(?:src|href)=["'](https?:)?//[^"']+["'][^>]*>""")


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    mkdocs = str(Path(sys.prefix) / "bin" / "mkdocs")
    argv = (mkdocs, "build", "--quiet", "--strict", "--site-dir", str(folder))
    assert "WARNING" not in LocalGate().run(Command(argv, cwd=ROOT)).stderr
    return folder


def test_it_builds_and_stays_at_home(built: Path) -> None:
    pages = sorted(built.rglob("*.html"))
    assert built / "index.html" in pages
    for page in pages:
        fetched = [
            match.group(0)
            for match in FETCHED.finditer(page.read_text())
            if "canonical" not in match.group(0)
        ]
        assert not fetched, page.name
    for style in built.rglob("*.css"):
        assert not re.search(r"url\(['\"]?https?:|@import\s+['\"]https?:", style.read_text()), style.name


def test_every_command_has_its_page_section(built: Path) -> None:
    page = (built / "reference" / "commands.html").read_text()
    for group in COMMANDS.values():
        for name in group:
            assert f'id="ai-how-{name}"' in page
