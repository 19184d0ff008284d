"""What `up` would tell the reconciler of the models in the file: what is new, other, or gone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ai_how.serving.replicas import Desired, SiteFolders, Store
from ai_how.site.control import Site
from ai_how.spec.model import ServedModel


@dataclass(frozen=True)
class Change:
    """One model, and what is other of it."""

    model: str
    why: str

    def as_json(self) -> dict[str, str]:
        return {"model": self.model, "why": self.why}


def changes(site: Site) -> Sequence[Change]:
    """What the file wants of served models that the reconciler was not told yet.

    A source is compared by its name: that `helper@champion` is another version now, only `up` finds out.
    """
    if not site.exists:
        return tuple(differences(site.file.spec.serving.models, {}, {}))
    store = Store(SiteFolders.of(site.layout.root))
    return tuple(
        differences(site.file.spec.serving.models, store.load("file").models, store.load("command").models)
    )


def concerned(site: Site) -> bool:
    """Whether anybody ever wanted a model served here: otherwise `up` has nobody to tell."""
    told = SiteFolders.of(site.layout.root).serving
    return bool(site.file.spec.serving.models) or any(told.glob("*.json"))


def differences(
    wanted: Sequence[ServedModel], before: Mapping[str, Desired], commanded: Mapping[str, Desired]
) -> Iterator[Change]:
    """The same for what the file and commands have said until now. Pure."""
    for model in wanted:
        old, said = before.get(model.name), commanded.get(model.name)
        if said is not None and said.stopped:
            yield Change(model.name, "it was stopped by command, which is taken back")
        elif old is None or old.current is None:
            yield Change(model.name, f"it is new: {model.source}")
        elif why := ", ".join(_other(model, old)):
            yield Change(model.name, why)
    for name in sorted(set(before) - {model.name for model in wanted}):
        yield Change(name, "it is in the file no more, and ends")


def _other(model: ServedModel, old: Desired) -> Iterator[str]:
    current = old.current
    if current is None:
        return
    if current.reference != model.source:
        yield f"{model.source} instead of {current.reference}"
    for word, now, former in (
        ("context", model.context, current.context),
        ("slots", model.slots, current.slots),
        (
            "replicas",
            _span(model.replicas.min, model.replicas.max),
            _span(old.scale.minimum, old.scale.maximum),
        ),
    ):
        if now != former:
            yield f"{word} {now} instead of {former}"
    canary = model.canary.source if model.canary else None
    if canary != (old.canary.reference if old.canary else None):
        yield f"a canary {canary}" if canary else "no canary any more"


def _span(least: int, most: int) -> str:
    return str(least) if least == most else f"{least} to {most}"
