"""Prompts by a seeded generator: the same in every run, and no two alike beyond what the recipe asks for. Pure."""

from __future__ import annotations

import random

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


def prompt(asked: Prompts, index: int) -> str:
    """Prompt ``index``, the same whenever it is asked for.

    What all share comes first and is what a prefix cache can save; the number behind it makes all the rest differ.
    """
    common = random.Random(asked.seed)
    own = random.Random(f"{asked.seed}/{index}")
    shared = round(asked.words * asked.shared)
    length = max(1, round(own.gauss(asked.words, asked.words * asked.spread)))
    words = common.choices(_WORDS, k=shared)[:length] if shared else []
    rest = length - len(words)
    if rest > 0:
        words += [str(own.getrandbits(40)), *own.choices(_WORDS, k=rest - 1)]
    return " ".join(words)
