"""Edits of a YAML text: what an edit does not name keeps its every character."""

from __future__ import annotations

import pytest
import yaml

from ai_how.errors import SpecError
from ai_how.spec.document import Document, apply, block, flow, scalar, unified
from ai_how.spec.load import Path

TEXT = """\
# about the file

# about a
a: 1      # one
b:
  # about c
  c: {x: 1, y: "z"}   # flow
  d:
    - name: q   # first
      k: 2

    - plain
# about e
e: |
  text
  more
f:
g: 'x'
"""


def document(text: str = TEXT) -> Document:
    return Document(text, "file.yaml")


def test_rename_changes_the_key_alone() -> None:
    assert document().edited(document().rename(("b", "c"), "see")).text == TEXT.replace("c: {", "see: {")


@pytest.mark.parametrize(
    ("path", "value", "old", "new"),
    [
        (("a",), 2, "a: 1      # one", "a: 2      # one"),
        (("a",), "12345678", "a: 1      # one", 'a: "12345678"  # one'),
        (("a",), {"k": [1, 2]}, "a: 1      # one", "a: {k: [1, 2]}  # one"),
        (("b", "c", "y"), True, 'y: "z"}   #', "y: true}  #"),
        (("b", "d", 0, "k"), "new", "k: 2", "k: new"),
        (("b", "d", 1), {"name": "r"}, "- plain", "- {name: r}"),
        (("e",), "short", "e: |\n  text\n  more\n", "e: short\n"),
        (("f",), 3, "f:\n", "f: 3\n"),
        (("g",), None, "g: 'x'", "g: null"),
    ],
)
def test_replace(path: Path, value: object, old: str, new: str) -> None:
    assert document().edited(document().replace(path, value)).text == TEXT.replace(old, new)


def test_replace_of_a_block_takes_its_lines() -> None:
    after = document().edited(document().replace(("b",), [1])).text
    assert after == TEXT[: TEXT.index("b:")] + "b: [1]\n" + TEXT[TEXT.index("# about e") :]


@pytest.mark.parametrize(
    ("path", "gone"),
    [
        (("a",), "# about a\na: 1      # one\n"),
        (("b", "c", "x"), "x: 1, "),
        (("b", "c", "y"), ', y: "z"'),
        (("b", "d", 1), "    - plain\n"),
        (("b", "d", 0, "name"), "name: q   # first\n      "),
        (("e",), "# about e\ne: |\n  text\n  more\n"),
        (("f",), "f:\n"),
    ],
)
def test_remove(path: Path, gone: str) -> None:
    assert gone in TEXT
    assert document().edited(document().remove(path)).text == TEXT.replace(gone, "")


def test_remove_of_the_only_entry_leaves_something_empty() -> None:
    assert document("a: {b: 1}\n").edited(document("a: {b: 1}\n").remove(("a", "b"))).text == "a: {}\n"
    text = "a:\n  - 1\nb: 2\n"
    assert document(text).edited(document(text).remove(("a", 0))).text == "a: []\nb: 2\n"


@pytest.mark.parametrize(
    ("path", "key", "value", "old", "new"),
    [
        (("b", "c"), "m", 3, 'y: "z"}   # flow', 'y: "z", m: 3}  # flow'),
        (("b",), "m", {"o": 1}, "    - plain\n", "    - plain\n  m: {o: 1}\n"),
        (("b", "d"), None, "r", "    - plain\n", "    - plain\n    - r\n"),
        (("b", "d", 0), "m", 1, "      k: 2\n", "      k: 2\n      m: 1\n"),
        (("f",), "m", 1, "f:\n", "f: {m: 1}\n"),
        ((), "h", 1, "g: 'x'\n", "g: 'x'\nh: 1\n"),
    ],
)
def test_add(path: Path, key: str | None, value: object, old: str, new: str) -> None:
    assert document().edited(document().add(path, key, value)).text == TEXT.replace(old, new)


def test_add_at_the_end_of_a_file_without_a_last_newline() -> None:
    text = "a:\n  b: 1"
    assert document(text).edited(document(text).add(("a",), "c", 2)).text == "a:\n  b: 1\n  c: 2\n"


def test_add_behind_a_comma() -> None:
    text = "a: [1, 2,]\n"
    assert document(text).edited(document(text).add(("a",), None, 3)).text == "a: [1, 2, 3]\n"


def test_what_an_alias_stands_for_is_not_changed_behind_its_back() -> None:
    text = "a: &x {k: 1}\nb: *x\nc: 2\n"
    with pytest.raises(SpecError, match="1 mistake") as caught:
        document(text).replace(("b", "k"), 2)
    assert caught.value.problems[0].line == 2
    assert document(text).edited(document(text).replace(("c",), 3)).text == text.replace("c: 2", "c: 3")


def test_edits_do_not_overlap() -> None:
    edits = [document().replace(("b",), 1), document().replace(("b", "c"), 1)]
    with pytest.raises(ValueError, match="overlap"):
        apply(TEXT, edits)


@pytest.mark.parametrize(
    "value",
    ["plain", "24:00:00", "1.0", "yes", "no", "null", "", " x", "a: b", 'q"uo\\te', "a\nb", "ünï", "\x07", "#", "-"],
)  # fmt: skip
def test_text_stays_text_for_every_reader(value: str) -> None:
    assert yaml.safe_load(f"k: {scalar(value)}") == {"k": value}
    assert document(f"k: {scalar(value)}\n").data == {"k": value}


def test_values_as_text() -> None:
    value = {"a": [1, {"b": None}], "c": {"d": {"e": "f"}}, "g": [], "h": [[1]]}
    assert yaml.safe_load(flow(value)) == yaml.safe_load(block(value)) == value


def test_no_difference_is_no_text() -> None:
    assert unified(TEXT, TEXT, "x") == ""
    assert unified("a", "b", "x") == "--- x\n+++ x (new)\n@@ -1 +1 @@\n-a\n+b\n"
