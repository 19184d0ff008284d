"""Talk to a served model: one question, or a conversation when none is given."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from ai_how.cli.output import err, json_argument, print_json, site_arguments, site_of

if TYPE_CHECKING:
    from ai_how.client import SiteClient


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", help="the served model's name")
    parser.add_argument("question", nargs="?", help="what to ask; without it, a conversation")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 is the same answer each time")
    site_arguments(parser)
    json_argument(parser)


def run(args: argparse.Namespace) -> int:
    from ai_how.client import SiteClient

    site = site_of(args)
    with SiteClient(site.gateway_url, site.gateway_token) as client:
        if args.question is not None:
            if args.json:
                answer = client.chat(args.model, [_user(args.question)], temperature=args.temperature)
                print_json({"model": args.model, "asked": args.question, "answered": answer.text})
            else:
                _answer(client, args, [_user(args.question)])
            return 0
        if sys.stdin.isatty():
            err.print("[dim]An empty line or Ctrl-D ends the conversation.[/]")
        _converse(client, args)
    return 0


def _converse(client: SiteClient, args: argparse.Namespace) -> None:
    messages: list[dict[str, str]] = []
    while True:
        try:
            question = input("> " if sys.stdin.isatty() else "")
        except EOFError:
            return
        if not question.strip():
            return
        messages.append(_user(question))
        messages.append({"role": "assistant", "content": _answer(client, args, messages)})


def _answer(client: SiteClient, args: argparse.Namespace, messages: list[dict[str, str]]) -> str:
    pieces = []
    for piece in client.chat(args.model, messages, stream=True, temperature=args.temperature):
        pieces.append(piece)
        print(piece, end="", flush=True)
    print()
    return "".join(pieces)


def _user(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}
