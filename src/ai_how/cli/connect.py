"""Have a model ready, and print what clients need to ask it; or run a command with that in its environment.

ai-how connect MODEL                       wake it, wait, and print the exports
eval "$(ai-how connect MODEL --show-token)"  have them in this shell
ai-how connect MODEL -- python3 ask.py     run a command with them
ai-how connect MODEL --via login           the same through a tunnel, which is kept until Ctrl-C

The token is a secret. It is printed to a terminal, or where --show-token asks for it.
"""

from __future__ import annotations

import argparse
import shlex
import signal
import sys
from typing import TYPE_CHECKING

from ai_how.cli.output import duration, err, json_argument, print_json
from ai_how.cli.reaching import Waiting, client_of, command_after_dashes, door_of, gateway_arguments

if TYPE_CHECKING:
    from ai_how.site.door import Door


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("model", help="the served model's name")
    parser.add_argument("--timeout", type=float, default=600, help="seconds to wait until it answers")
    parser.add_argument(
        "--show-token", action="store_true", help="print the token, too, where no terminal is"
    )
    gateway_arguments(parser)
    json_argument(parser)
    command_after_dashes(parser, "MODEL")


def run(args: argparse.Namespace) -> int:
    door = door_of(args, notify=lambda text: err.print(f"[dim]{text}[/]"))
    with (
        Waiting(args.model, door) as waiting,
        client_of(door, timeout=args.timeout, waiting=waiting) as client,
    ):
        client.wake(args.model)
        waiting.end()
        after = f", after {duration(waiting.seconds)}" if waiting.seconds >= 1 else ""
        err.print(f"[dim]{args.model} answers{after}[/]")
        if args.command:
            return _command(door, args.command)
        shown = args.show_token or sys.stdout.isatty()
        if args.json:
            print_json(_facts(door, args.model, shown=args.show_token))
        else:
            _print(door, shown=shown)
        if door.via:
            _stay(door)
    return 0


def _facts(door: Door, model: str, *, shown: bool) -> dict[str, object]:
    token = {"token": door.token} if shown else {}
    return {"model": model, "url": door.url, "openai_base_url": f"{door.url}/v1", "via": door.via, **token}


def _print(door: Door, *, shown: bool) -> None:
    left_out = []
    for key, value in door.environment.items():
        if value == door.token and not shown:
            left_out.append(key)
        else:
            print(f"export {key}={shlex.quote(value)}", flush=True)
    if left_out:
        err.print(
            f"The token is not printed here: {', '.join(left_out)} are left out. --show-token prints them."
        )


def _command(door: Door, words: list[str]) -> int:
    from ai_how.run import Command, LocalGate

    command = Command(tuple(words), env=door.environment)
    if not door.via:
        LocalGate().replace(command)
    # Ctrl-C is the command's affair; a handler, unlike "ignore", is not handed on to it.
    former = signal.signal(signal.SIGINT, lambda number, frame: None)
    try:
        return LocalGate().pass_through(command)
    finally:
        signal.signal(signal.SIGINT, former)


def _stay(door: Door) -> None:
    try:
        err.print(f"The tunnel to {door.via} is open. Ctrl-C closes it.")
        while True:
            signal.pause()
    except KeyboardInterrupt:
        err.print("The tunnel is closed.")
