"""Whatever stands in a file, the tools that change it answer with another text or with :class:`SpecError`."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from test_spec_any_text import BASE, KINDS

from ai_how.errors import SpecError
from ai_how.gpu.fixes import profiles
from ai_how.spec import parse
from ai_how.spec.diff import diff
from ai_how.spec.document import Document
from ai_how.spec.fix import fix
from ai_how.spec.merge import Layer, merge
from ai_how.spec.migrate import migrate


def mistakes(text: str) -> int:
    try:
        parse(text)
    except SpecError as error:
        return len(error.problems)
    return 0


def changed_by_every_tool(text: str) -> None:
    try:
        Document(text, "any.yaml")
    except SpecError:
        with pytest.raises(SpecError):
            fix(text)
        return
    fixed = fix(text, also=(profiles,))
    assert fix(fixed.text, also=(profiles,)).done == (), "a second look finds nothing more to repair"
    if fixed.done and mistakes(text) == 0:
        assert diff(parse(text).spec, parse(fixed.text).spec) in ((), _only_tidied(text, fixed.text))
    for tool in (migrate, lambda one: merge(Layer("base", BASE), Layer("over", one))):
        with contextlib.suppress(SpecError):
            tool(text)


def _only_tidied(text: str, fixed: str) -> tuple[object, ...]:
    """What repairs may change in a file without a mistake: how a PCI address is written, and what is there twice."""
    changes = diff(parse(text).spec, parse(fixed).spec)
    return tuple(one for one in changes if one.path[-1] in ("pci_address", "names", "dns", "authorized_keys"))


@pytest.mark.parametrize(("kind", "count"), [("edited", 40), ("mutated", 40), ("gpus", 10), ("pieces", 40)])
def test_some_documents_of_every_kind(kind: str, count: int) -> None:
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(KINDS[kind])
    def documents(text: str) -> None:
        changed_by_every_tool(text)

    documents()
