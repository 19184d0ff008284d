"""What the commands share that talk to a gateway, here or on another machine: arguments, tunnel, waiting."""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rich.markup import escape

from ai_how.cli.output import duration, err, site_arguments
from ai_how.errors import AiHowError, NotFound

if TYPE_CHECKING:
    from ai_how.client import SiteClient
    from ai_how.site.door import Door


def gateway_arguments(parser: argparse.ArgumentParser) -> None:
    """Which gateway: the site's own, one at an address, one on another machine."""
    site_arguments(parser)
    group = parser.add_argument_group("a gateway elsewhere")
    group.add_argument(
        "--via", metavar="HOST", help="the machine where it runs, reached by ssh; --file is a path there"
    )
    group.add_argument("--url", help="its address, such as http://127.0.0.1:8080 (default: $AI_HOW_URL)")
    group.add_argument(
        "--token-file", type=Path, metavar="FILE", help="holds the token (default: $AI_HOW_TOKEN)"
    )
    group.add_argument(
        "--program", default="ai-how", help="ai-how on that machine, which is asked without --url"
    )
    group.add_argument(
        "--ssh-config", type=Path, metavar="FILE", help="ssh's configuration (default: your own)"
    )
    group.add_argument(
        "--ca", type=Path, metavar="FILE", help="the certificate by which a gateway with TLS is known"
    )


def door_of(args: argparse.Namespace, notify: Callable[[str], None] | None = None) -> Door:
    """The gateway that the arguments mean, and a tunnel to it where there must be one."""
    from ai_how.site.connect import find

    return find(
        args.file, root=args.root, url=args.url, token=_token(args.token_file), via=args.via,
        program=args.program, ssh_config=args.ssh_config, ca=args.ca, notify=notify,
    )  # fmt: skip


def client_of(door: Door, *, timeout: float, waiting: Waiting | None = None) -> SiteClient:
    """A client of it, that waits ``timeout`` seconds for a model; closing it ends the tunnel."""
    from ai_how.client import Patience, SiteClient

    patience = Patience(wake=timeout, reconnect=door.patience(None).reconnect)
    told: dict[str, Any] = {"on_wait": waiting.told} if waiting else {}
    return SiteClient(
        door.url,
        door.token,
        ca=door.ca,
        patience=patience,
        timeout=max(timeout, 1.0),
        on_close=door.close,
        **told,
    )


def _token(file: Path | None) -> str | None:
    if file is None:
        return None
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise NotFound(
            f"the token cannot be read: {error.strerror}",
            where=str(file),
            todo="--token-file names a file that holds the token, as `ai-how token create` printed it.",
        ) from error


class Waiting:
    """Says on standard error that a model is waited for, once that takes more than a second, how it is, and why."""

    def __init__(self, model: str, door: Door) -> None:
        self._model = model
        self._door = door
        self._why = ""
        self._over = threading.Event()
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._show, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """It has answered, or will not. What follows may be printed now."""
        self._over.set()
        self._thread.join()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    def told(self, error: AiHowError, seconds: float) -> None:
        """Called by the client each time it has to ask again."""
        self._why = error.message
        if not err.is_terminal:
            err.print(f"waiting for {self._model}: {self._why}")

    def _show(self) -> None:
        if self._over.wait(1.0):
            return
        if not err.is_terminal:
            if (state := self._state()) != "ready":  # then it is answering, and says so itself
                err.print(f"waiting for {self._model}{f', which is {state}' if state else ''}")
            return
        with err.status("") as status:
            state, looked = self._state(), time.monotonic()
            while not self._over.wait(0.2):
                if time.monotonic() - looked > 2:
                    state, looked = self._state(), time.monotonic()
                status.update(
                    f"waiting for [bold]{self._model}[/]  {duration(self.seconds)}  {state or ''}"
                    f"{f'  [dim]{escape(self._why)}[/]' if self._why else ''}"
                )

    def _state(self) -> str | None:
        """How the gateway says that the model is; None when it does not say."""
        from ai_how.client import Patience, SiteClient

        door = self._door
        with SiteClient(door.url, door.token, ca=door.ca, patience=Patience(0), timeout=5) as client:
            try:
                return next((card.state for card in client.models().data if card.id == self._model), None)
            except AiHowError:
                return None  # what went wrong is said by whoever waits


def command_after_dashes(parser: argparse.ArgumentParser, *usage: str) -> None:
    """Take what follows ``--`` as a command, whatever stands before: argparse's own remainder would swallow options."""
    parse = parser.parse_known_args

    def split(args: Any = None, namespace: Any = None) -> tuple[argparse.Namespace, list[str]]:
        words = list(sys.argv[1:] if args is None else args)
        at = words.index("--") if "--" in words else len(words)
        found, rest = parse(words[:at], namespace)
        found.command = words[at + 1 :]
        return found, rest

    parser.parse_known_args = split  # type: ignore[method-assign, assignment]
    parser.usage = " ".join((parser.prog, *usage, "[options] [-- COMMAND ...]"))
