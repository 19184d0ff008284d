"""JSON Schema of the files, from the types themselves: for editors, and for programs that write such files. Pure."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema
from pydantic_core import core_schema

from ai_how.spec import operations, values
from ai_how.spec.bench import BenchRecipe
from ai_how.spec.model import SiteSpec
from ai_how.spec.recipe import Recipe
from ai_how.spec.versions import CURRENT

DIALECT = "https://json-schema.org/draft/2020-12/schema"
#: The files that have a schema: their types, and what they are.
FILES: dict[str, tuple[type[BaseModel], str]] = {
    "cluster": (SiteSpec, "One site of AI-HOW: its clusters, GPUs, networks and services."),
    "recipe": (Recipe, "How AI-HOW runs one kind of work."),
    "bench": (BenchRecipe, "What AI-HOW measures, and how."),
}
#: The comment by which editors that use yaml-language-server find the schema of a file.
MODELINE = "# yaml-language-server: $schema={}\n"
_IPV4 = r"\d{1,3}(\.\d{1,3}){3}"
#: What the checks of values ask of a text, as near as a pattern comes to it, and what such a text is called.
FORMATS: dict[Any, tuple[str, str]] = {
    values._name: ("name", r"^[a-z][a-z0-9-]{0,30}$"),
    values._time: ("time", r"^\s*(\d+|\d+:\d+|\d+:\d+:\d+|\d+-\d+(:\d+(:\d+)?)?)\s*$"),
    values._address: ("IPv4 address", f"^{_IPV4}$"),
    values._subnet: ("IPv4 subnet", rf"^{_IPV4}/\d{{1,2}}$"),
    values._range: ("range of IPv4 addresses", rf"^{_IPV4}(-(\d{{1,3}}|{_IPV4}))?$"),
    operations._schedule: ("cron schedule", r"^\s*\S+(\s+\S+){4}\s*$"),
}


class _Generate(GenerateJsonSchema):
    """Without titles, which repeat each key in other letters, and with a pattern where a check asks for one."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def function_after_schema(self, schema: core_schema.AfterValidatorFunctionSchema) -> dict[str, Any]:
        found = super().function_after_schema(schema)
        form = FORMATS.get(schema["function"]["function"])
        return _with_pattern(found, form[1]) if form else found


def _with_pattern(part: dict[str, Any], pattern: str) -> dict[str, Any]:
    if "anyOf" in part:
        return part | {"anyOf": [_with_pattern(choice, pattern) for choice in part["anyOf"]]}
    return part | {"pattern": pattern} if part.get("type") == "string" else part


@cache
def schema(file: str = "cluster") -> dict[str, Any]:
    """The JSON Schema (2020-12) of ``cluster`` or ``recipe``; not to be changed, for it is kept."""
    model, description = FILES[file]
    return {
        "$schema": DIALECT,
        "$id": f"urn:ai-how:{file}:{CURRENT}",
        **schema_of(model),
        "title": f"{file}.yaml",
        "description": description,
    }


def schema_of(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of any of our types, without what is said of a file as a whole."""
    facts = model.model_json_schema(by_alias=True, mode="validation", schema_generator=_Generate)
    return {key: _without_titles(value, names=key in ("properties", "$defs")) for key, value in facts.items()}


def _without_titles(part: Any, *, names: bool = False) -> Any:
    """``names``: the keys of this mapping are names of somebody's, and one of them may be title."""
    if isinstance(part, list):
        return [_without_titles(item) for item in part]
    if not isinstance(part, dict):
        return part
    return {
        key: value
        if key in ("default", "const", "enum", "examples") and not names
        else _without_titles(value, names=key in ("properties", "$defs") and not names)
        for key, value in part.items()
        if names or key != "title"
    }
