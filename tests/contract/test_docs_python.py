"""The Python of the guides, run as it stands there: against the gateway, with the tiny model in place of theirs."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import sys
from pathlib import Path

import pytest
from door import Door

from ai_how.site import connect as room

GUIDES = Path(__file__).parents[2] / "docs" / "how-to"
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = (
    "use-a-model-from-python",
    "use-a-model-from-a-client",
    "use-an-ollama-client",
    "reach-a-site-from-another-machine",
)


@pytest.mark.parametrize("page", PAGES)
def test_the_blocks_of_a_page_run_one_after_the_other(
    page: str, door: Door, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    there = room.Door(door.url, door.token)
    # Where a guide names a file or a machine, it is this gateway that is found.
    monkeypatch.setattr(room, "find", lambda *args, **kwargs: there)
    for key, value in there.environment.items():
        monkeypatch.setenv(key, value)
    for name in [name for name in sys.modules if name.partition(".")[0] == "ollama"]:
        monkeypatch.delitem(sys.modules, name)  # it reads its address when it is imported first
    blocks = BLOCK.findall((GUIDES / f"{page}.md").read_text())
    assert blocks
    names: dict[str, object] = {}
    for block in blocks:
        source = block.replace("site-facts", "tiny").replace("http://127.0.0.1:8080", door.url)
        code = compile(source, f"{page}.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        awaited = eval(code, names)
        if inspect.iscoroutine(awaited):
            asyncio.run(awaited)
    assert page == "use-an-ollama-client" or capsys.readouterr().out.strip()
