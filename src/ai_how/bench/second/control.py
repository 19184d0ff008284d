"""Asks the tools of a recipe, after our own run, and puts what they say beside it."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import replace
from typing import Any

from ai_how.bench.interfaces import Client, Measured, Place
from ai_how.bench.loaded import Around
from ai_how.bench.model import Value
from ai_how.bench.priority import as_everybody
from ai_how.bench.second import inference, storage
from ai_how.bench.second.model import Tool
from ai_how.bench.targets.job import runner
from ai_how.errors import AiHowError, UsageError
from ai_how.spec.bench import BenchRecipe

TOOLS = {tool.name: tool for tool in (*inference.TOOLS, *storage.TOOLS)}


class Seconded(Around):
    """A client after each of whose runs the tools are asked."""

    def __init__(self, recipe: BenchRecipe, place: Place, inner: Client) -> None:
        super().__init__(inner)
        self._recipe, self._place = recipe, place
        self._tools = [TOOLS[name] for name in recipe.target.second]
        for tool in self._tools:
            if recipe.target.api not in tool.api:
                raise UsageError(f"{tool.name} knows no target of the api '{recipe.target.api}'")
            if place.address is not None and place.address.trust is not None:
                raise UsageError(
                    f"{tool.name} is asked of addresses without TLS alone",
                    todo="Leave `target.second` out here.",
                )
            if tool.keyless and place.token:
                raise UsageError(
                    f"{tool.name} takes a token by its command line alone, where everybody can read it",
                    todo="Ask it of an address that wants no token.",
                )

    def more(self, found: Measured) -> Measured:
        if found.stopped:
            return found
        values: dict[str, Value] = dict(found.values)
        notes: dict[str, Any] = {}
        for tool in self._tools:
            try:
                said, command = self._opinion(tool)
            except AiHowError as error:
                notes[tool.name] = f"gave no opinion: {error.message}"
                continue
            values |= {f"{tool.name}.{name}": value for name, value in said.items()}
            notes[tool.name] = command
        return replace(found, values=values, notes={**found.notes, **notes})

    def _opinion(self, tool: Tool) -> tuple[dict[str, Value], str]:
        above = self._place.share if self._recipe.target.job and self._place.share else self._place.folder
        folder = above / f"second-{secrets.token_hex(4)}"
        folder.mkdir(mode=0o700)
        try:
            command = tool.ask(self._recipe, self._place, folder)
            with as_everybody():
                ran = runner(self._place, self._recipe.target.job, self._recipe.name)(command)
            text = ran.done.stdout
            if tool.answer is not None:
                text = (folder / tool.answer).read_text(encoding="utf-8")
            return dict(tool.read(text)), " ".join(command.argv)
        except OSError as error:
            raise UsageError(f"{tool.name} left no answer: {error}") from error
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def seconded(recipe: BenchRecipe, place: Place, client: Client) -> Client:
    """The client with the second opinions that the recipe wants."""
    return Seconded(recipe, place, client) if recipe.target.second else client
