"""Results as files: written whole, read back checked."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from ai_how.bench.model import VERSION, Result
from ai_how.errors import AiHowError, NotFound
from ai_how.run import write_whole
from ai_how.run.files import read_whole


def write_result(path: Path, result: Result) -> None:
    """Raises :class:`OSError` when the disk refuses; whoever has the result still has it."""
    write_whole(path, result.model_dump_json(indent=1) + "\n", mode=0o644)


def read_result(path: Path) -> Result:
    """Raises :class:`NotFound` when there is no such file, and :class:`AiHowError` when it is no result."""
    try:
        text = read_whole(path)
    except NotFound as error:
        raise NotFound(error.message, where=error.where, todo="`ai-how bench run` writes results.") from error
    try:
        return Result.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        raise AiHowError(
            f"{path.name} is no result of `ai-how bench run`",
            where=str(path),
            cause=f"{'.'.join(map(str, first['loc'])) or 'all of it'}: {first['msg']}",
            todo=f"This ai-how reads results of version {VERSION}.",
        ) from error
