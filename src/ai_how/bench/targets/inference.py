"""What the targets share that ask a model by chat: the load core, and a second word on tokens and on the engine's time.

A server says how many tokens an answer had; the model's own tokenizer counts those of the text that came. An engine
that tells its own timings is held against what was seen from outside.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import httpx

from ai_how.bench.exchange import ChatExchange
from ai_how.bench.figures import token_time
from ai_how.bench.interfaces import Client, Measured, Place
from ai_how.bench.loaded import Around
from ai_how.bench.model import Value
from ai_how.bench.targets.driven import PROBES, python_of, seconds_histogram
from ai_how.bench.targets.web import wanted_address
from ai_how.errors import AiHowError, CouldNotTell
from ai_how.run import Command
from ai_how.spec.bench import BenchRecipe, Prompts

#: Answers whose tokens are counted again: enough to tell, few enough not to load the server long.
_COUNTED = 64
#: What a server writes for bytes that are no text: several tokens may stand behind one of these, or a part of one.
_NO_TEXT = "\ufffd"
#: The runtime environment that has Hugging Face's tokenizers.
_TOKENIZERS = "oumi"


class Told(Around):
    """The load core; after each run the tokens are counted again, and the engine's own timings are looked at."""

    def __init__(self, recipe: BenchRecipe, place: Place, inner: Client) -> None:
        super().__init__(inner)
        self._recipe, self._place = recipe, place

    def more(self, found: Measured) -> Measured:
        good = [one for one in found.exchanges if isinstance(one, ChatExchange) and one.good]
        prompts = self._recipe.workload.prompts or Prompts()
        notes: dict[str, Any] = {}
        agree = None
        try:
            agree = self._agreement(good, prompts, notes)
            if agree is not None:
                notes["tokens_counted_by"] = prompts.tokenizer
        except AiHowError as error:
            notes["tokens_not_counted"] = f"{error.message}: {error.cause or error.where or ''}"
        values, histograms = of_engine(good)
        asked = [one.asked_tokens for one in good if one.asked_tokens is not None]
        if asked and len(asked) == len(good):
            seconds = max(one.done for one in good) - min(one.due for one in good)
            total = sum(asked) + sum(one.tokens or 0 for one in good)
            values["total_tokens"] = Value(value=total / max(seconds, 1e-9), unit="tokens/s")
            notes["asked_tokens_mean"] = fmean(asked)
        return replace(
            found,
            values=values,
            histograms=histograms,
            notes=notes,
            tokens_agree=agree,
            cache=known_before(good),
        )

    def _agreement(
        self, good: Sequence[ChatExchange], prompts: Prompts, notes: dict[str, Any]
    ) -> float | None:
        """The tokenizer's count over the server's. None where there is nothing to count.

        Raises :class:`CouldNotTell` where no answer is text throughout: what a model said in bytes that are no UTF-8
        came as something else, and is not what it said any more.
        """
        # Texts stay in the process that read them: of a load of several processes there are none here.
        told = [(one, "".join(one.text)) for one in good if one.tokens and one.text]
        if prompts.tokenizer == "none" or not told:
            return None
        whole = [(one, text) for one, text in told if _NO_TEXT not in text]
        if len(whole) < len(told):
            notes["tokens_no_text"] = (
                f"{len(told) - len(whole)} of {len(told)} answers hold bytes that are no text"
            )
        if not whole:
            raise CouldNotTell("no answer can be counted again", cause="each holds bytes that are no text")
        whole = whole[:: max(1, len(whole) // _COUNTED)]
        some, texts = [one for one, _ in whole], [text for _, text in whole]
        if prompts.tokenizer == "server":
            counts = self._by_server(texts)
        else:
            counts = by_tokenizer(texts, Path(prompts.tokenizer), self._place)
        # The token that ends an answer is generated and has no text.
        ends = sum(one.finish == "stop" for one in some)
        return (sum(counts) + ends) / sum(one.tokens or 0 for one in some)

    def _by_server(self, texts: Sequence[str]) -> list[int]:
        """By ``/tokenize``, which llama.cpp and vLLM have. Raises :class:`CouldNotTell` where the server has not."""
        token = self._place.token
        headers = {"authorization": f"Bearer {token}"} if token else {}
        counts, address = [], wanted_address(self._place)
        try:
            with httpx.Client(
                base_url=address.url,
                headers=headers,
                trust_env=False,
                timeout=30,
                verify=address.context or True,
            ) as client:
                for text in texts:
                    body = {"content": text, "prompt": text, "model": self._recipe.target.model}
                    answer = client.post("/tokenize", json=body | {"add_special_tokens": False})
                    answer.raise_for_status()
                    counts.append(len(answer.json()["tokens"]))
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            raise CouldNotTell("the server does not tokenize", cause=str(error)) from error
        return counts


def by_tokenizer(texts: Sequence[str], path: Path, place: Place) -> list[int]:
    """By a ``tokenizer.json``, in a runtime environment that can read one. Raises :class:`CouldNotTell`."""
    command = Command(
        (python_of(place, _TOKENIZERS), str(PROBES / "tokens.py"), str(path)), stdin=json.dumps(list(texts))
    )
    said = place.gate.run(command).stdout
    try:
        return [int(one) for one in json.loads(said)]
    except (ValueError, TypeError) as error:
        raise CouldNotTell("the tokenizer's counts are none", detail=said[-300:]) from error


def known_before(good: Sequence[ChatExchange]) -> str | None:
    """How much of the prompts the engine says that its prefix cache knew; None where it does not say. Pure."""
    pairs = [
        (one.cached_tokens, one.asked_tokens)
        for one in good
        if one.cached_tokens is not None and one.asked_tokens
    ]
    if not pairs:
        return None
    share = sum(cached for cached, _ in pairs) / sum(asked for _, asked in pairs)
    return f"{share:.0%} of the prompt tokens were known to the engine's prefix cache"


def of_engine(good: Sequence[ChatExchange]) -> tuple[dict[str, Value], dict[str, Any]]:
    """The engine's own time of a token, and ours as a share of it, over the same answers. Pure."""
    pairs = [
        (one.engine["predicted_per_token_ms"] / 1e3, seen)
        for one in good
        if one.engine and one.engine.get("predicted_per_token_ms") and (seen := token_time(one)) is not None
    ]
    if not pairs:
        return {}, {}
    share = sum(seen for _, seen in pairs) / sum(told for told, _ in pairs)
    values = {"engine_agrees": Value(value=share, unit="of the engine's", better="lower")}
    prompts = [
        (one.engine["prompt_ms"] / 1e3, one.first - one.sent)
        for one in good
        if one.engine and one.engine.get("prompt_ms")
    ]
    if prompts:
        share = sum(seen for _, seen in prompts) / sum(told for told, _ in prompts)
        values["engine_prompt_agrees"] = Value(value=share, unit="of the engine's", better="lower")
    return values, {"engine_token": seconds_histogram([told for told, _ in pairs])}
