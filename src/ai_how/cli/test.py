"""``ai-how test``: everything that is checked, in the order in which it fails fastest."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ai_how.errors import AiHowError

if TYPE_CHECKING:
    from ai_how.host import Folders
    from ai_how.run import Gate

SUMMARY = "run the project's checks and tests"
#: Side by side, file by file: most of the time one of them waits for a daemon, and two keep two cores busy.
ABREAST = ("-n2", "--dist=loadfile")
MEASURING = "tests/contract/test_bench_*.py"
#: What fails fastest comes first. What measures time has the machine to itself.
GROUPS = (
    ("tests/unit", "tests/golden", *ABREAST),
    ("tests/contract", f"--ignore-glob={MEASURING}", *ABREAST),
    (MEASURING,),
    ("tests/integration", *ABREAST),
)


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.usage = "ai-how test [--fast] [-k EXPRESSION] [PATH ...] [-- OPTIONS OF PYTEST]"
    parser.add_argument(
        "-k", metavar="EXPRESSION", help="only the tests that match, as pytest understands it"
    )
    parser.add_argument(
        "--fast", action="store_true", help="leave out the tests that start real daemons or are slow"
    )
    parser.add_argument(
        "pytest", nargs=argparse.REMAINDER, metavar="...", help="handed to pytest; a path runs that alone"
    )


def run(args: argparse.Namespace) -> int:
    """Run the checks and the tests; 0 when all of them passed. Needs a clone: the tests are not installed."""
    from ai_how.host import Environments, Folders
    from ai_how.run import LocalGate

    root = repository()
    gate = LocalGate()
    folders = Folders.of_user(os.environ)
    extra = [word for word in args.pytest if word != "--"]
    fast = args.fast or "--fast" in extra
    extra = [*(["-k", args.k] if args.k else []), *(word for word in extra if word != "--fast")]
    Environments(gate, folders).add_to_own("dev", say)
    if names_a_path(extra, root):
        return Suite(gate, root).pytest(extra)
    if not fast:
        prepare(gate, folders)
    suite = Suite(gate, root)
    suite.checks()
    quick = ["-m", "not slow"] if fast else []
    for words in GROUPS[:-1] if fast else GROUPS:
        if suite.pytest([*quick, *extra, *expanded(words, root)]) != 0:
            break
    return suite.conclude(fast)


class Suite:
    """The checks and tests of the tree at ``root``, and how each of them ended."""

    def __init__(self, gate: Gate, root: Path) -> None:
        self._gate = gate
        self._root = root
        self._ended: list[tuple[str, int, float]] = []
        self._skipped: dict[str, int] = {}

    def checks(self) -> None:
        """Style, types, rooms and docs."""
        self.step("ruff", "check", "--quiet", ".")
        self.step("mypy", "--no-error-summary")
        self.step("lint-imports", "--no-cache", "--no-logo")
        with tempfile.TemporaryDirectory() as site:
            self.step("mkdocs", "build", "--quiet", "--strict", "--site-dir", site)

    def pytest(self, words: Sequence[str]) -> int:
        """Run pytest; "no test matched" counts as success when something else selects the tests."""
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder) / "report.xml"
            code = self.step("pytest", f"--junitxml={report}", *words, accept=(0, 5))
            for reason in skipped(report):
                self._skipped[reason] = self._skipped.get(reason, 0) + 1
        return code

    def step(self, name: str, *words: str, accept: Sequence[int] = (0,)) -> int:
        """Run one tool of the project's environment on this terminal; 0 when it ended well."""
        from ai_how.run import Command

        tools = Path(sys.prefix) / "bin"
        say(" ".join((name, *words)))
        started = time.monotonic()
        env = {
            "PATH": f"{tools}:{os.environ.get('PATH', '')}",
            "NO_MKDOCS_2_WARNING": "1",
            "DISABLE_MKDOCS_2_WARNING": "true",
        }
        code = self._gate.pass_through(Command((str(tools / name), *words), env=env, cwd=self._root))
        code = 0 if code in accept else code
        self._ended.append((name, code, time.monotonic() - started))
        return code

    def conclude(self, fast: bool) -> int:
        """Say how each step ended and what was not run and why; the exit code of it all."""
        print()
        for name, code, seconds in self._ended:
            print(f"{'ok    ' if code == 0 else 'FAILED'}  {seconds:7.1f} s  {name}")
        if fast:
            print("not run: tests/integration (--fast)")
        for reason, count in sorted(self._skipped.items()):
            print(f"not run: {count} test{'s' if count > 1 else ''}: {reason}")
        return 1 if any(code for _, code, _ in self._ended) else 0


def prepare(gate: Gate, folders: Folders) -> None:
    """Get every program and every runtime environment that the integration tests use."""
    from ai_how.host import Environments, Toolbox
    from ai_how.host.programs import CATALOGUE

    Toolbox(gate, folders).ensure(CATALOGUE, say)
    environments = Environments(gate, folders)
    for name in environments.names():
        environments.ensure(name, say)


def repository() -> Path:
    """The root of the clone that this runs from; raises :class:`AiHowError` when it is no clone."""
    root = Path(__file__).resolve().parents[3]
    if not (root / "tests").is_dir():
        raise AiHowError(
            "the tests are not here",
            where=str(root),
            cause="this is an installed package, not a clone",
            todo="Run `./ai-how test` in a clone of the repository.",
        )
    return root


def expanded(words: Sequence[str], root: Path) -> Iterator[str]:
    """The words of a group, with its files in place of a pattern for them."""
    for word in words:
        if "*" in word and word[0] != "-":
            yield from sorted(str(path.relative_to(root)) for path in root.glob(word))
        else:
            yield word


def names_a_path(words: Sequence[str], root: Path) -> bool:
    """Does one of pytest's arguments name a file or folder of the tree?"""
    return any((root / word.partition("::")[0]).exists() for word in words if word and word[0] != "-")


def skipped(report: Path) -> Iterator[str]:
    """The reason of every test that was skipped, from a JUnit report."""
    import xml.etree.ElementTree as ET

    if not report.is_file():
        return
    for case in ET.parse(report).getroot().iter("testcase"):
        for mark in case.iter("skipped"):
            yield mark.get("message") or "no reason given"


def say(line: str) -> None:
    print(f"ai-how: {line}", file=sys.stderr, flush=True)
