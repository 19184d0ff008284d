"""Talk to a served model: one question, or a conversation when none is given.

In a conversation Ctrl-C ends an answer that has gone on long enough, /new begins anew, and Ctrl-D ends. Where no
terminal is, each line of the input is something said; with --json each answer is one line of JSON.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from rich.text import Text

from ai_how.cli.output import broken, err, json_argument, print_error, print_json
from ai_how.cli.reaching import Waiting, client_of, door_of, gateway_arguments
from ai_how.errors import AiHowError

if TYPE_CHECKING:
    from ai_how.client import Conversation
    from ai_how.site.door import Door

HELP = "/new begins anew, /help shows this; Ctrl-C ends an answer, Ctrl-D the conversation."


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("model", help="the served model's name")
    parser.add_argument("question", nargs="?", help="what to ask; without it, a conversation")
    parser.add_argument("--system", help="what the model is told before everything else")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 is the same answer each time")
    parser.add_argument(
        "--max-tokens", type=int, help="the longest answer, in tokens (default: the engine's)"
    )
    parser.add_argument("--timeout", type=float, default=600, help="seconds to wait for a model that wakes")
    gateway_arguments(parser)
    json_argument(parser)


def run(args: argparse.Namespace) -> int:
    door = door_of(args, notify=lambda text: err.print(f"[dim]{text}[/]"))
    with (
        Waiting(args.model, door) as waiting,
        client_of(door, timeout=args.timeout, waiting=waiting) as client,
    ):
        talk = client.chat(args.model, **_options(args))
        if args.question is not None:
            _once(talk, args, waiting)
            return 0
        client.wake(args.model)
        waiting.end()
        _converse(talk, args, door)
    return 0


def _options(args: argparse.Namespace) -> dict[str, Any]:
    told = {"temperature": args.temperature, "max_tokens": args.max_tokens, "system": args.system}
    return {key: value for key, value in told.items() if value is not None}


def _once(talk: Conversation, args: argparse.Namespace, waiting: Waiting) -> None:
    if args.json:
        answer = talk.say(args.question)
        waiting.end()
        print_json(_facts(args.model, args.question, answer.text))
    else:
        _answer(talk, args.question, waiting)


def _converse(talk: Conversation, args: argparse.Namespace, door: Door) -> None:
    by_hand = sys.stdin.isatty()
    if by_hand:
        with suppress(ImportError):
            import readline  # noqa: F401 - input() then edits the line and remembers the former ones
        _remark(f"{args.model} listens. {HELP}")
    while True:
        try:
            text = input("> " if by_hand else "").strip()
        except EOFError:
            if by_hand:
                print()
            return
        except KeyboardInterrupt:
            if not by_hand:
                raise
            err.print("\n[dim]Ctrl-D ends the conversation.[/]")
            continue
        if by_hand and text.startswith("/"):
            _order(talk, text)
        elif text:
            _turn(talk, text, args, by_hand, door)


def _remark(text: str) -> None:
    err.print(Text(broken(text, err), style="dim"))


def _order(talk: Conversation, text: str) -> None:
    if text == "/new":
        talk.forget()
        err.print("[dim]What was said is forgotten.[/]")
    else:
        _remark(HELP)


def _turn(talk: Conversation, text: str, args: argparse.Namespace, by_hand: bool, door: Door) -> None:
    try:
        with Waiting(args.model, door) as waiting:
            if args.json:
                print(json.dumps(_facts(args.model, text, talk.say(text).text)), flush=True)
            else:
                _answer(talk, text, waiting)
    except KeyboardInterrupt:
        if not by_hand:
            raise
        print()
    except AiHowError as error:
        # Somebody who talks may try again; a script may not go on as if nothing had been.
        if not by_hand:
            raise
        print_error(error)


def _answer(talk: Conversation, text: str, waiting: Waiting) -> None:
    from ai_how.cli.wrapping import Wrapped

    # Nobody but a terminal wants anything else than the answer itself.
    shown = Wrapped(shutil.get_terminal_size().columns).feed if sys.stdout.isatty() else str
    for piece in talk.stream(text):
        waiting.end()
        print(shown(piece), end="", flush=True)
    waiting.end()
    print()


def _facts(model: str, asked: str, answered: str) -> dict[str, str]:
    return {"model": model, "asked": asked, "answered": answered}
