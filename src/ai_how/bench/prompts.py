"""Prompts by a seeded generator: the same words in every run, and no two alike beyond what the recipe asks for."""

from __future__ import annotations

import math
import random
from functools import lru_cache
from pathlib import Path

from ai_how.bench.work import LOT
from ai_how.errors import UsageError
from ai_how.run.files import read_whole
from ai_how.spec.bench import Prompts

#: Short common words: most tokenizers have each as one token.
_TEXT = """
    time year people way day man thing woman life child world school state family student group country
    problem hand part place case week company system program question work government number night point
    home water room mother area money story fact month lot right study book eye job word business issue side
    kind head house service friend father power hour game line end member law car city community name
    president team minute idea body information back parent face others level office door health person art
    war history party result change morning reason research girl guy moment air teacher force education foot
    boy age policy music market sense
"""
_WORDS = tuple(_TEXT.split())


@lru_cache(maxsize=16)
def _shared(seed: int, count: int) -> tuple[str, ...]:
    """The words with which all prompts of a recipe begin."""
    return tuple(random.Random(seed).choices(_WORDS, k=count))


def prompt(asked: Prompts, index: int) -> str:
    """Prompt ``index``, the same whenever it is asked for.

    A file's prompts are asked in turn, as they stand. Of a generated one, what all share comes first and is what a
    prefix cache can save; the number behind it makes all the rest differ. That number is of the run's own lot, the
    words are not: who asks the same words once more, in another run or another benchmark, is no prefix cache's guest.
    """
    place = index % LOT
    if asked.file is not None:
        lines = lines_of(asked.file)
        return lines[place % len(lines)]
    own = random.Random(f"{asked.seed}/{place}")
    shared = round(asked.words * asked.shared)
    length = max(1, round(_length(asked, own)))
    words = list(_shared(asked.seed, shared)[:length])
    rest = length - len(words)
    if rest > 0:
        words += [
            f"{random.Random(f'{asked.seed}/{index}').randrange(10**12):012}",
            *own.choices(_WORDS, k=rest - 1),
        ]
    return " ".join(words)


def _length(asked: Prompts, own: random.Random) -> float:
    """Words of a prompt: of all distributions the mean is ``words`` and the standard deviation its ``spread``."""
    mean, deviation = asked.words, asked.words * asked.spread
    if asked.lengths == "uniform":
        return own.uniform(mean - math.sqrt(3) * deviation, mean + math.sqrt(3) * deviation)
    if asked.lengths == "lognormal":
        variance = math.log(1 + asked.spread**2)
        return own.lognormvariate(math.log(mean) - variance / 2, math.sqrt(variance))
    return own.gauss(mean, deviation)


@lru_cache(maxsize=4)
def lines_of(path: str) -> tuple[str, ...]:
    """The prompts of a file. Raises :class:`NotFound` and, for one without any, :class:`UsageError`."""
    found = tuple(line for line in read_whole(Path(path)).splitlines() if line.strip())
    if not found:
        raise UsageError("there is no prompt in the file", where=path, todo="Write one on each line.")
    return found
