"""The docs say what is so: commands parse, files parse, and nothing that exists is left out."""

from __future__ import annotations

import argparse
import ast
import importlib
import importlib.util
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import ai_how
from ai_how import client, errors, langchain
from ai_how.cli import COMMANDS
from ai_how.host.recorded import InventoryFile, parse_inventory
from ai_how.run import Command, LocalGate
from ai_how.services.catalogue import port_names
from ai_how.spec import message, parse
from ai_how.spec.bench import BenchRecipe, parse_bench
from ai_how.spec.keys import keys
from ai_how.spec.model import SiteSpec
from ai_how.spec.recipe import Recipe, parse_recipe
from ai_how.spec.template import laptop

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
EXAMPLES = ROOT / "examples"
PAGES = sorted(DOCS.rglob("*.md"))
READ = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md", EXAMPLES / "README.md"]
NAMES = [name for group in COMMANDS.values() for name in group]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
#: ISSUE.KIND.md, with a number before the end where an issue has more than one of a kind.
NEWS = r"\d+\.(added|changed|fixed|removed)(\.\d+)?\.md"
RECIPE = {
    "version": "1.0",
    "kind": "train",
    "name": "sample",
    "script": "train.py",
    "environment": {"venv": "torch"},
}


def blocks(language: str, pages: list[Path]) -> Iterator[tuple[str, str]]:
    """Every fenced block in a language, with the page and line where it begins."""
    for page in pages:
        text = page.read_text()
        for found in FENCE.finditer(text):
            if found[1] == language:
                line = text.count("\n", 0, found.start()) + 1
                yield f"{page.relative_to(ROOT)}:{line}", found[2]


def command_lines() -> Iterator[tuple[str, list[str]]]:
    """Every command of ours in the console blocks, as its words."""
    for where, text in blocks("console", READ):
        for line in text.splitlines():
            if line.startswith("$ "):
                for words in ours(line[2:]):
                    yield where, words


def ours(line: str) -> Iterator[list[str]]:
    """The commands of ours in a line of shell, those inside ``$(...)`` too."""
    for inner in re.findall(r"\$\((.*?)\)", line):
        yield from ours(inner)
    lexer = shlex.shlex(re.sub(r"\$\(.*?\)", "SUBSTITUTED", line), posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    command: list[str] = []
    for word in [*lexer, ";"]:
        if set(word) <= set("();<>|&"):
            if command and command[0] in ("ai-how", "./ai-how"):
                yield command[1:]
            command = []
        elif command or not re.match(r"^[A-Z_]+=", word):
            command.append(word)


def parser_of(name: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"ai-how {name}")
    importlib.import_module(f"ai_how.cli.{name}").arguments(parser)
    return parser


@pytest.mark.parametrize(("where", "words"), list(command_lines()), ids=str)
def test_every_command_parses(where: str, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    if words == ["--help"]:
        return
    assert words and words[0] in NAMES, f"{where}: there is no such command"
    try:
        parser_of(words[0]).parse_args(words[1:])
    except SystemExit as left:
        assert left.code == 0, f"{where}: {capsys.readouterr().err}"


def test_console_blocks_hold_commands() -> None:
    assert not [where for where, text in blocks("console", READ) if not text.startswith("$ ")]
    bare = [
        where for where, text in blocks("", READ) if re.search(r"^(\$ )?(\./)?ai-how ", text, re.MULTILINE)
    ]
    assert not bare, "these blocks are not marked as console, so nobody checks their commands"


@pytest.mark.parametrize(("where", "text"), list(blocks("yaml", READ)), ids=str)
def test_every_yaml_block_parses(where: str, text: str) -> None:
    """A whole file by itself; a part of one merged into the laptop template, or into a recipe."""
    facts = yaml.safe_load(text)
    if "inventory" in facts:
        parse_inventory(text, where)
    elif facts.get("kind") == "bench":
        parse_bench(text, where)
    elif "version" in facts:
        (parse_recipe if "kind" in facts else parse)(text, where)
    elif set(facts) & {"clusters", "global", "metadata", "security", "serving"}:
        parse(yaml.safe_dump(merged(yaml.safe_load(laptop()), facts)), where)
    else:
        parse_recipe(yaml.safe_dump(merged(RECIPE, facts | {"resources": {"time_limit": "12:00:00"}})), where)


def merged(whole: dict[str, Any], part: dict[str, Any]) -> dict[str, Any]:
    """``part`` in place of what ``whole`` says; an environment is replaced as one."""
    nested = {
        key: merged(whole[key], value)
        for key, value in part.items()
        if isinstance(value, dict) and isinstance(whole.get(key), dict) and key != "environment"
    }
    return whole | part | nested


@pytest.mark.parametrize(
    "file", sorted(EXAMPLES.rglob("*.yaml")), ids=lambda file: str(file.relative_to(EXAMPLES))
)
def test_every_example_file_parses(file: Path) -> None:
    if file.name == "recipe.yaml":
        assert (file.parent / parse_recipe(file.read_text(), str(file)).entry).is_file()
    elif file.parent.name == "inventories":
        parse_inventory(file.read_text(), str(file))
    elif file.parent.name == "bench":
        assert parse_bench(file.read_text(), str(file)).name == file.stem
    else:
        assert parse(file.read_text(), str(file)).spec.name == file.stem


def test_example_scripts_have_no_slips() -> None:
    for file in EXAMPLES.rglob("*.py"):
        compile(file.read_text(), str(file), "exec")
    for file in EXAMPLES.rglob("*.sh"):
        LocalGate().run(Command(("bash", "-n", str(file))))


def test_python_blocks_have_no_slips() -> None:
    for where, text in blocks("python", READ):
        ast.parse(text, where)


def test_the_recipe_in_the_guide_is_the_example() -> None:
    guide = (DOCS / "how-to" / "train-your-own-script.md").read_text()
    assert (EXAMPLES / "recipes" / "line" / "recipe.yaml").read_text() in guide


def test_every_page_is_in_the_nav() -> None:
    nav = set(re.findall(r"\S+\.md$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    assert nav == {str(page.relative_to(DOCS)) for page in PAGES} | set(generated().pages())


def test_every_page_is_linked_from_its_index() -> None:
    for folder in ("how-to", "reference", "explanation", "decisions"):
        index = (DOCS / folder / "index.md").read_text()
        there = {page.name for page in PAGES if page.parent.name == folder}
        there |= {Path(name).name for name in generated().pages() if name.startswith(folder)}
        assert sorted(re.findall(r"\]\(([^)/]+\.md)\)", index)) == sorted(there - {"index.md"}), folder


def test_links_of_pages_outside_the_docs_lead_somewhere() -> None:
    for page in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", EXAMPLES / "README.md"):
        for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
            known = (
                Path(link).is_relative_to("docs")
                and str(Path(link).relative_to("docs")) in generated().pages()
            )
            assert known or "://" in link or (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_command_is_shown_at_work() -> None:
    assert {words[0] for _, words in command_lines()} >= set(NAMES)
    page = generated().commands()
    assert not [name for name in NAMES if f"### ai-how {name} " not in page]


def test_every_exit_code_is_documented() -> None:
    table = dict(
        re.findall(
            r"^\| (\d+) \| `(\w+)` \|", (DOCS / "reference" / "exit-codes.md").read_text(), re.MULTILINE
        )
    )
    kinds = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, errors.AiHowError)
    ]
    assert {str(kind.exit_code): kind.__name__ for kind in kinds} == table


def test_every_key_of_the_files_is_documented() -> None:
    files = (
        (SiteSpec, "cluster_yaml"),
        (Recipe, "recipe_yaml"),
        (InventoryFile, "inventory_yaml"),
        (BenchRecipe, "bench_yaml"),
    )
    for model, page in files:
        schema = model.model_json_schema()
        text = getattr(generated(), page)()
        for part in (schema, *schema.get("$defs", {}).values()):
            for key, field in part.get("properties", {}).items():
                assert f"| `{key}` |" in text
                assert field.get("description"), f"{part['title']}.{key} says nothing about itself"


def test_every_link_of_a_mistake_leads_to_a_table() -> None:
    for model, file, page in ((SiteSpec, "cluster", "cluster_yaml"), (Recipe, "recipe", "recipe_yaml")):
        text = getattr(generated(), page)()
        for path in keys(file):
            anchor = (message.link(model, path) or "").partition("#")[2]
            assert f"{{#{anchor}}}" in text or not anchor, path


def test_every_variable_of_ours_is_documented() -> None:
    page = (DOCS / "reference" / "environment-variables.md").read_text()
    sources = [ROOT / "ai-how", *(ROOT / "src").rglob("*.py")]
    used = {name for file in sources for name in re.findall(r"\bAI_HOW_[A-Z_]+\b", file.read_text())}
    assert used == set(re.findall(r"`(AI_HOW_[A-Z_]+)`", page))


def test_every_name_for_python_is_in_its_reference() -> None:
    page = (DOCS / "reference" / "python-api.md").read_text()
    named = set(re.findall(r"^::: ai_how[\w.]*\.(\w+)$", page, re.MULTILINE))
    private = {"Messages"}  # a name for a type, told where it is used
    assert named >= {*client.__all__, *langchain.__all__, *ai_how.__all__} - private - {"__version__"}


def test_every_service_is_documented() -> None:
    page = (DOCS / "reference" / "services.md").read_text()
    spec = parse(laptop()).spec
    for name, _ in port_names(spec):
        service = "object-store" if name.startswith("object-store") else name
        assert f"`{service}`" in page or service.startswith("slurmd-")


def generated() -> ModuleType:
    """The module that writes the generated pages; MkDocs runs it as a hook."""
    found = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert found is not None and found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


def test_news_is_named_as_the_tool_that_gathers_it_asks() -> None:
    names = [path.name for path in (ROOT / "changelog.d").glob("*.md")]
    assert names and [name for name in names if not re.fullmatch(NEWS, name)] == []
