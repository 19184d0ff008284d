"""The example notebooks, executed in a real kernel against a real gateway.

Behind it is llama.cpp with a tiny model, whose answers are nonsense but are answers; for the agent an engine of the
tests that calls tools by a script, since no model of that size does.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import nbformat
import pytest
from door import Door, opened
from doubles import ToolEngine
from launched import start
from nbclient import NotebookClient
from tiny_gguf import write_tiny_gguf

from ai_how.serving.engines import LlamaCpp, Place

NOTEBOOKS = Path(__file__).parents[2] / "examples" / "notebooks"
#: The paragraphs and a question to them: each byte is a token of the tiny model.
CONTEXT = 2048


@pytest.fixture(scope="module")
def large_door(llama_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    site = tmp_path_factory.mktemp("notebooks")
    model = write_tiny_gguf(site / "tiny.gguf", context=CONTEXT)
    running = start(LlamaCpp(), Place.of_python(llama_python), model, site, context=CONTEXT)
    running.record()
    with opened(site) as door:
        yield door
    running.end()


@pytest.fixture(scope="module")
def tool_door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    site = tmp_path_factory.mktemp("agent")
    running = start(
        ToolEngine(), Place.of_python(Path(sys.executable)), write_tiny_gguf(site / "t.gguf"), site
    )
    running.record()
    with opened(site) as door:
        yield door
    running.end()


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Kernels of this interpreter, whatever else the user has; no file of theirs outside the test's folder."""
    for name in (
        "JUPYTER_DATA_DIR",
        "JUPYTER_CONFIG_DIR",
        "JUPYTER_RUNTIME_DIR",
        "JUPYTER_PATH",
        "IPYTHONDIR",
    ):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    monkeypatch.setenv("MODEL", "tiny")


def executed(name: str, door: Door, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What each cell of code showed."""
    monkeypatch.setenv("AI_HOW_URL", door.url)
    monkeypatch.setenv("AI_HOW_TOKEN", door.token)
    notebook = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    resources = {"metadata": {"path": str(NOTEBOOKS)}}
    NotebookClient(notebook, timeout=60, kernel_name="python3", resources=resources).execute()
    return [shown(cell) for cell in notebook.cells if cell.cell_type == "code"]


def shown(cell: nbformat.NotebookNode) -> str:
    texts = (one.get("text") or one.get("data", {}).get("text/plain", "") for one in cell.outputs)
    return "".join(texts)


def test_a_first_chat(kernel: None, large_door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, asked, streamed, talked, gathered, refused, _ = executed("first-chat", large_door, monkeypatch)
    assert opened == "'tiny'" and "('length', Usage(prompt_tokens=" in asked and streamed
    assert "['system', 'user', 'assistant', 'user', 'assistant']" in talked and gathered == "(3, 30)"
    assert "does not exist" in refused and "ai-how ps" in refused


def test_documents(kernel: None, large_door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    _, cut, kept, found, answered, _ = executed("documents", large_door, monkeypatch)
    assert cut == kept == "6"
    # Even random weights find the paragraph whose letters are most like the question's.
    assert found.startswith("gpus.md | The partition `train` has eight A100 cards")
    assert "From: gpus.md" in answered


def test_an_agent(kernel: None, tool_door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    _, _, asked, streamed, _ = executed("agent", tool_door, monkeypatch)
    assert asked == "tool: free_gpus {'partition': 'train'}\nThe tool says 3.\n"
    (call,) = ast.literal_eval(streamed)
    assert (call["name"], call["args"]) == ("free_gpus", {"partition": "serve"})


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_kept_without_outputs(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    assert cells and not [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")]
