"""Results as files: written whole, read back checked."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from ai_how.bench.figures import figures
from ai_how.bench.model import VERSION, Result
from ai_how.errors import AiHowError, NotFound, SpecError
from ai_how.run import write_whole
from ai_how.run.files import read_whole
from ai_how.spec.bench import parse_bench


def write_result(path: Path, result: Result) -> None:
    """Raises :class:`OSError` when the disk refuses; whoever has the result still has it."""
    write_whole(path, result.model_dump_json(indent=1) + "\n", mode=0o644)


def read_result(path: Path) -> Result:
    """Raises :class:`NotFound` when there is no such file, and :class:`AiHowError` when it is no result."""
    try:
        text = read_whole(path)
    except NotFound as error:
        raise NotFound(error.message, where=error.where, todo="`ai-how bench run` writes results.") from error
    except SpecError as error:
        raise AiHowError(
            f"{path.name} is no result of `ai-how bench run`",
            where=str(path),
            cause=error.problems[0].message,
        ) from error
    try:
        result = Result.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise AiHowError(
            f"{path.name} is no result of `ai-how bench run`",
            where=str(path),
            cause=f"{'.'.join(map(str, first['loc'])) or 'all of it'}: {first['msg']}",
            todo=f"This ai-how reads results of version {VERSION}.",
        ) from error
    if result.partial and not result.figures and result.runs:
        # What was kept while it went on has runs alone.
        result = result.model_copy(update={"figures": figures(result.recipe, result.runs)})
    return result


class Row(NamedTuple):
    """A recipe or a result in a folder; ``problem`` says why it could not be read."""

    path: Path
    kind: str
    name: str
    target: str
    started: float | None = None
    runs: int | None = None
    figures: int | None = None
    trusted: int | None = None
    partial: str | None = None
    problem: str | None = None


def listed(folder: Path) -> list[Row]:
    """The recipes and the results in a folder and in those below it, recipes first, then results by their time.

    Raises :class:`NotFound` when there is no such folder. A file that is neither is left out.
    """
    if not folder.is_dir():
        raise NotFound("there is no such folder", where=str(folder))
    recipes = [row for path in sorted(folder.rglob("*.yaml")) if (row := _recipe_row(path)) is not None]
    results = [row for path in folder.rglob("*.json") if (row := _result_row(path)) is not None]
    return recipes + sorted(results, key=lambda row: (row.started or 0.0, row.path))


def _begins_like(path: Path, *words: str) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            head = file.read(4096)
    except (OSError, UnicodeDecodeError):
        return False
    return any(word in head for word in words)


def _recipe_row(path: Path) -> Row | None:
    if not _begins_like(path, "kind: bench"):
        return None
    try:
        recipe = parse_bench(path.read_text(encoding="utf-8"), str(path))
    except SpecError as error:
        return Row(path, "recipe", path.stem, "", problem=error.problems[0].message)
    return Row(path, "recipe", recipe.name, recipe.target.api)


def _result_row(path: Path) -> Row | None:
    if not _begins_like(path, '"kind": "bench-result"', '"kind":"bench-result"'):
        return None
    try:
        result = read_result(path)
    except AiHowError as error:
        return Row(path, "result", path.stem, "", problem=error.cause or error.message)
    trusted = sum(figure.ok for figure in result.figures)
    target = f"{result.recipe.target.api} {result.address}".strip()
    return Row(path, "result", result.recipe.name, target, result.started, len(result.runs), len(result.figures),
               trusted, result.partial)  # fmt: skip
