"""JSON Schema of the files, from the types themselves: for editors, and for programs that write such files. Pure."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from ai_how.spec.model import SiteSpec
from ai_how.spec.recipe import Recipe
from ai_how.spec.versions import CURRENT

DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: The files that have a schema: their types, and what they are called in their schema.
FILES: dict[str, tuple[type[BaseModel], str, str]] = {
    "cluster": (SiteSpec, "cluster.yaml", "One site of AI-HOW: its clusters, GPUs, networks and services."),
    "recipe": (Recipe, "recipe.yaml", "How AI-HOW runs one kind of work."),
}
#: The comment by which editors that speak to yaml-language-server find the schema of a file.
MODELINE = "# yaml-language-server: $schema={}\n"


class _Untitled(GenerateJsonSchema):
    """Without the titles that repeat each key in other letters."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


@cache
def schema(file: str = "cluster") -> dict[str, Any]:
    """The JSON Schema (2020-12) of ``cluster`` or ``recipe``; read only, for it is kept."""
    model, title, description = FILES[file]
    facts = model.model_json_schema(by_alias=True, mode="validation", schema_generator=_Untitled)
    body = {key: _without_titles(value) for key, value in facts.items()}
    for key in ("title", "description"):
        body.pop(key, None)
    return {
        "$schema": DIALECT,
        "$id": f"urn:ai-how:{file}:{CURRENT}",
        "title": title,
        "description": description,
        **body,
    }


def _without_titles(part: Any, *, names: bool = False) -> Any:
    """``names``: the keys of this mapping are names of somebody's, so one may be called title."""
    if isinstance(part, list):
        return [_without_titles(item) for item in part]
    if not isinstance(part, dict):
        return part
    return {
        key: value
        if key in ("default", "const", "enum", "examples")
        else _without_titles(value, names=key in ("properties", "$defs"))
        for key, value in part.items()
        if names or key != "title"
    }
