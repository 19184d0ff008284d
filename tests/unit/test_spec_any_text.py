"""Whatever stands in a file, the answer is a checked site or :class:`SpecError`: never anything else."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ai_how.errors import SpecError
from ai_how.gpu.check import CHECKS
from ai_how.site import open_site
from ai_how.spec import parse
from ai_how.spec.recipe import parse_recipe

BASE = (Path(__file__).parent / "faults" / "base.yaml").read_text(encoding="utf-8")
DATA = yaml.safe_load(BASE)
LINES = BASE.splitlines(keepends=True)

#: How many documents the slow test makes of each kind: 10,000 together.
MANY = {"raw": 1500, "pieces": 3000, "edited": 2700, "mutated": 2500, "gpus": 300}
#: And the fast one: 500.
FEW = {"raw": 50, "pieces": 100, "edited": 150, "mutated": 180, "gpus": 20}

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.integers(-2, 8), st.floats(), st.text(max_size=8),
    st.sampled_from(["hpc", "cloud", "gpu", "small", "GPU-0", "1g.10gb", "10.0.0.0/8", "192.168.100.12", "24:00:00",
                     "192.168.100.11-14", "0000:65:00.0", "yes", "", "libvirt", "local", "qos", "1.0", "high", "low"]),
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6) | st.integers(), inner, max_size=3)
    ),
    max_leaves=6,
)
pieces = st.sampled_from(
    [*"{}[]:,-?&*!|>'\"%@`#~\n\t \x00\x85\u2028\ufeff\ud800", "&a ", "*a", "<<: ", "---\n", "...\n", "!!str ", "!!int ",
     "!!python/name:os.system ", ": ", "- ", "\n  ", "\n    ", "version", '"1.0"', "metadata", "clusters", "hpc",
     "compute_nodes", "count", "1", "0x1F", "0o17", "1e999", "9" * 5000, "true", "null", "~", "2001-12-14", "12:30:45"]
)  # fmt: skip


def answered(text: str, kind: str) -> None:
    """Parses it. An error names its file and a place that can be in it, and reads as text."""
    reads: list[Callable[[str, str], object]] = [partial(parse, also=CHECKS if kind == "gpus" else ())]
    if kind in ("raw", "pieces"):
        reads.append(parse_recipe)
    for read in reads:
        try:
            read(text, "any.yaml")
        except SpecError as error:
            for problem in error.problems:
                assert problem.file == "any.yaml" and problem.line >= 1 and problem.column >= 1
                assert problem.line <= len(text.splitlines()) + 1
                assert problem.message and len(problem.message) < 1000
            assert str(error) and error.detail and error.as_json()["problems"]


def places(data: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    entries = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [path, *(place for key, inner in entries for place in places(inner, (*path, key)))]


PLACES = places(DATA)[1:]


def inside(data: Any, path: list[Any]) -> Any:
    """What is at ``path`` now; None when an earlier change has taken it away."""
    for part in path:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            return None
    return data


@st.composite
def mutated(draw: st.DrawFn, inside_of: tuple[str, ...] = ()) -> str:
    """The base with some of its values replaced, removed, doubled or put elsewhere; well-formed YAML all the same."""
    data = copy.deepcopy(DATA)
    for _ in range(draw(st.integers(1, 4))):
        *above, last = draw(
            st.sampled_from([place for place in PLACES if place[: len(inside_of)] == inside_of])
        )
        holder = inside(data, above)
        there = range(len(holder)) if isinstance(holder, list) else holder if isinstance(holder, dict) else ()
        if last not in there:
            continue
        change = draw(st.sampled_from(["replace", "replace", "remove", "key", "move", "double"]))
        if change == "replace":
            holder[last] = draw(values)
        elif change == "remove":
            del holder[last]
        elif change == "key" and isinstance(holder, dict):
            holder[draw(st.text(max_size=8) | st.integers() | st.none())] = draw(values)
        elif change == "move" and isinstance(holder, dict):
            holder[last] = copy.deepcopy(
                draw(st.sampled_from([DATA["global"], DATA["clusters"], DATA["backup"]]))
            )
        elif change == "double" and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[last]))
    # JSON is YAML too, and far quicker to write.
    return json.dumps(data, ensure_ascii=draw(st.booleans()), indent=draw(st.sampled_from([None, 1])))


@st.composite
def edited(draw: st.DrawFn) -> str:
    """The base's text with some lines dropped, doubled, indented otherwise or broken into."""
    lines = list(LINES)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(lines) - 1))
        column = draw(st.integers(0, max(0, len(lines[at]) - 1)))
        change = draw(st.sampled_from(["drop", "double", "indent", "insert", "cut"]))
        if change == "drop":
            lines[at] = ""
        elif change == "double":
            lines[at] *= 2
        elif change == "indent":
            lines[at] = " " + lines[at]
        elif change == "cut":
            lines[at] = lines[at][:column] + "\n"
        else:
            lines[at] = lines[at][:column] + draw(pieces) + lines[at][column:]
    return "".join(lines)


KINDS = {
    "raw": st.text(max_size=60),
    "pieces": st.lists(pieces, max_size=25).map("".join),
    "edited": edited(),
    "mutated": mutated(),
    "gpus": mutated(("global", "gpu_allocation")),
}


def throw(kind: str, count: int) -> None:
    made = 0

    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(KINDS[kind])
    def documents(text: str) -> None:
        nonlocal made
        made += 1
        answered(text, kind)

    documents()
    assert made >= count


@pytest.mark.parametrize("kind", KINDS)
def test_some_documents_of_every_kind(kind: str) -> None:
    throw(kind, FEW[kind])


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_ten_thousand_documents(kind: str) -> None:
    assert sum(MANY.values()) >= 10_000
    throw(kind, MANY[kind])


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n"
    for old, new in zip("abcdefghi", "bcdefghij", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, "by its aliases"),
        ("#" * (2**24 + 1), "a file of 16777217 characters"),
        ("a: &a [*a]", "stands inside what it names"),
        ("a: &a {b: {c: *a}}", "stands inside what it names"),
        ("[" * 100_000, "more than 64 mappings and lists inside each other"),
        ("{a: " * 100_000, "more than 64"),
        ("- " * 100_000, "more than 64"),
        ("\n".join(" " * depth + "a:" for depth in range(2000)), "more than 64"),
        ("version: " + "9" * 5000, "'version' should be '1.0', not '999999"),
        ("a: \x00", "a character that no YAML may hold (U+0000)"),
        ("a: \ud800", "a character that is no character (U+D800)"),
        ("%YAML 3.0\n---\na: 1", "no valid YAML"),
        ("x: &x {a: 1}\ny: {<<: [*x, 3]}", "'<<' takes in a mapping"),
    ],
    ids=["bomb", "large", "ring", "ring of mappings", "brackets", "braces", "dashes", "deep", "digits", "NUL",
         "surrogate", "version of YAML", "merge"],
)  # fmt: skip
def test_what_is_meant_to_hurt(text: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse(text)
    assert any(message in problem.message for problem in caught.value.problems)


@pytest.mark.parametrize(
    ("data", "place"),
    [
        (b"\xff\xfev\x00", "1:1"),
        (BASE.encode().replace(b"factory\n", b"fabri\xe9\n"), "5:14"),
        (b"a: \xc3\xa4\xff", "1:5"),
    ],
    ids=["UTF-16", "Latin-1", "behind a letter of two bytes"],
)
def test_what_is_no_utf_8_has_a_place(data: bytes, place: str, tmp_path: Path) -> None:
    file = tmp_path / "cluster.yaml"
    file.write_bytes(data)
    with pytest.raises(SpecError) as caught:
        open_site(file)
    (problem,) = caught.value.problems
    assert problem.where == f"{file}:{place}" and "no UTF-8 text" in problem.message


def test_aliases_and_merges_are_followed() -> None:
    text = BASE.replace("alerts: {email:", "alerts: &alerts {email:") + "x: 1\n"
    with pytest.raises(SpecError, match="1 mistake"):
        parse(text)
    shared = BASE.replace("cpu_workers: {count: 1,", "cpu_workers: &workers {count: 1,").replace(
        "gpu_workers: {count: 3, cpu_cores: 8, memory_gb: 16,", "gpu_workers: {<<: *workers, count: 3,"
    )
    workers = parse(shared).spec.clusters.cloud.worker_nodes
    assert workers is not None and workers.gpu_workers is not None
    assert (workers.gpu_workers.count, workers.gpu_workers.cpu_cores) == (3, 4)
