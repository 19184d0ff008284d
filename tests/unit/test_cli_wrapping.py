"""Answers on a terminal: broken between words while they come, and nothing in them steers the terminal."""

from __future__ import annotations

import random
import re

import pytest

from ai_how.cli.wrapping import Wrapped

WORDS = [
    "a",
    "bb",
    "ccc",
    "dddd",
    "eeeee",
    "ffffff",
    "ggggggg",
    "in",
    "einem",
    "kühlen",
    "Grunde",
    "geht",
    "Mühlenrad",
]


def screen(text: str, width: int) -> list[str]:
    """The lines of a terminal that knows as much as is printed here."""
    lines = [""]
    for back, letter in re.findall(r"\x1b\[(\d+)D\x1b\[K|(.)", text, re.DOTALL):
        if back:
            lines[-1] = lines[-1][: -int(back)]
        elif letter == "\n":
            lines.append("")
        else:
            lines[-1] += letter
    return lines


@pytest.mark.parametrize("width", [20, 33, 80])
@pytest.mark.parametrize("seed", range(5))
def test_words_stay_whole_however_they_come(width: int, seed: int) -> None:
    chance = random.Random(seed)
    text = " ".join(chance.choices(WORDS, k=200))
    wrapped, out, left = Wrapped(width), "", text
    while left:
        count = chance.randint(1, 7)
        out += wrapped.feed(left[:count])
        left = left[count:]
    lines = screen(out, width)
    assert all(len(line) < width for line in lines) and len(lines) > 1
    assert " ".join(lines).split() == text.split()


def test_lines_of_its_own_and_their_indent_are_kept() -> None:
    code = "def f():\n    return 1\n\n  - one\n"
    assert Wrapped(80).feed(code) == code
    assert Wrapped(80).feed("a\tb") == "a       b"


def test_a_word_longer_than_half_a_line_is_broken_where_the_line_ends() -> None:
    assert screen(Wrapped(11).feed("x " + "y" * 25), 11) == ["x yyyyyyyy", "y" * 10, "y" * 7]


def test_wide_letters_count_twice() -> None:
    assert Wrapped(8).feed("水車 水車").split("\n")[-1] == "水車"


def test_an_answer_does_not_steer_the_terminal() -> None:
    assert Wrapped(80).feed("a\x1b[2Jb\x07\r\x9bc") == "a[2Jbc"
