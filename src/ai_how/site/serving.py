"""The served models of a site: told what is wanted of them, and shown as they are. The reconciler does the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ai_how.errors import AiHowError, JobFailed, NotFound, TimedOut, UsageError
from ai_how.host import Progress
from ai_how.run import wait_until
from ai_how.serving.replicas import (
    Desired,
    ModelVersion,
    ReplicaResources,
    Replicas,
    ReplicaWanted,
    Scale,
    SiteFolders,
    Store,
    nudge,
)
from ai_how.serving.replicas import desired as wanted_of
from ai_how.site.control import Site
from ai_how.site.never_ready import never_ready
from ai_how.site.resolve import Asked, Wish, resolve
from ai_how.site.work import refuse_unborn
from ai_how.spec.model import ServedModel
from ai_how.spec.serving import IDLE, seconds

#: How a version that differs from the one that is served takes its place.
Change = Literal["none", "upgrade", "canary"]
#: Seconds in which a reconciler that lives makes a pass.
_FRESH = 5.0

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Numbers:
    """What is said of the number of replicas; None leaves it as it was."""

    minimum: int | None = None
    maximum: int | None = None
    idle: float | None = None
    wakes: bool | None = None
    queue: int | None = None
    tokens: int | None = None

    def over(self, scale: Scale) -> Scale:
        """These numbers over those. Raises :class:`UsageError` when they contradict each other."""
        said = {
            "minimum": self.minimum, "maximum": self.maximum, "idle": self.idle, "wakes": self.wakes,
            "queue": self.queue, "tokens": self.tokens,
        }  # fmt: skip
        scale = scale.model_copy(update={key: value for key, value in said.items() if value is not None})
        if self.minimum is not None and self.maximum is None:
            scale = scale.model_copy(update={"maximum": max(scale.maximum, scale.minimum, 1)})
        if scale.minimum > scale.maximum:
            raise UsageError(
                f"{scale.minimum} replicas at least and {scale.maximum} at most",
                todo="Raise --max, or lower --min.",
            )
        if scale.minimum == 0 and scale.idle is None:
            scale = scale.model_copy(update={"idle": seconds(IDLE)})
        if scale.minimum > 0 and self.idle is not None:
            raise UsageError("only a model with --min 0 sleeps", todo="Write --min 0, or leave --idle out.")
        return scale


# --- by command -------------------------------------------------------------------------------------------


def serve(
    site: Site,
    asked: Asked,
    progress: Progress,
    *,
    numbers: Numbers = Numbers(),
    change: Change = "none",
    weight: int = 10,
    timeout: float = 600,
) -> Facts:
    """Have a model served, and wait until it is; returns what `ps` says of it.

    A model that cannot be served is as it was before. Raises :class:`NotFound` for one that does not exist,
    :class:`UsageError` when another version of it is served and no ``change`` is asked for, :class:`JobFailed` with the
    engine's last lines, and :class:`TimedOut`: then it stays asked for.
    """
    store = _store(site)
    served = store.told().get(asked.usual_name)
    name, version = resolve(site, asked.wish(served.desired.current if served else None), progress)
    now = site.clock.now()
    before = store.load("command").models.get(name)
    told = store.told().get(name)
    desired = _desired(told.desired if told else None, name, version, numbers, change, weight, now)
    _command(store, name, desired)
    progress(f"{name} is asked for; waiting until it answers")
    try:
        return _wait(site, store, desired, version, timeout)
    except JobFailed:
        _command(store, name, before)
        raise


def _desired(
    old: Desired | None,
    name: str,
    version: ModelVersion,
    numbers: Numbers,
    change: Change,
    weight: int,
    now: float,
) -> Desired:
    """What is wanted from now on. Pure."""
    if old is None or old.current is None or old.stopped:
        scale = numbers.over(old.scale if old else Scale())
        base = old or Desired(model=name)
        changes = {"current": version, "canary": None, "scale": scale, "stopped": False, "fault": ""}
        return base.model_copy(update={**changes, "said": now, "awake": True})
    scaled = old.model_copy(update={"scale": numbers.over(old.scale), "said": now, "awake": True})
    if change == "upgrade":
        return wanted_of.upgraded(scaled, version, now)
    if change == "canary":
        return wanted_of.with_canary(scaled, version, weight, now)
    if old.current.id != version.id:
        raise UsageError(
            f"another version of {name} is served already: {old.current.reference}",
            cause="It differs in its file, its engine, or in what each replica gets.",
            todo="Say --upgrade, or --canary 10 to try it on some requests; or serve it under another --name.",
        )
    return scaled


def rollback(site: Site, name: str, progress: Progress, *, timeout: float = 600) -> Facts:
    """Take a canary back, or return to the version before. Raises :class:`NotFound` when there is neither."""
    store = _store(site)
    told = store.told().get(name)
    if told is None:
        raise _unknown(store, name)
    desired = wanted_of.rolled_back(told.desired, site.clock.now()).model_copy(update={"awake": True})
    _command(store, name, desired)
    progress(f"{name} goes back to {desired.current.reference if desired.current else 'nothing'}")
    return _wait(site, store, desired, desired.current, timeout)


def _command(store: Store, name: str, desired: Desired | None) -> None:
    with store.change("command") as models:
        if desired is None:
            models.pop(name, None)
        else:
            models[name] = desired


def _wait(site: Site, store: Store, desired: Desired, version: ModelVersion | None, timeout: float) -> Facts:
    """Until the version answers, and in an upgrade until all others have gone out of rotation."""
    name = desired.model
    alone = desired.canary is None
    seen: dict[str, Any] = {}

    def look() -> Facts | None:
        shown = shown_by(site, store)
        model = next((one for one in shown["models"] if one["model"] == name), None)
        if model is None or model["said"] != desired.said:
            return None
        seen.update(model)
        replicas = [one for one in shown["replicas"] if one["model"] == name]
        ready = [one for one in replicas if one["phase"] == "ready" and not one["draining"]]
        right = [one for one in ready if version is not None and one["version"] == version.id]
        if right and (len(right) == len(ready) or not alone):
            enough = model["state"] == "ready" and (
                not alone or len(right) >= min(model["replicas_wanted"], 1)
            )
            return {**model, "replicas": replicas, "answering": right[-1]} if enough else None
        if model["failures"] or model["state"] == "failed":
            raise never_ready(model, replicas)
        return None

    try:
        return wait_until(look, what=f"{name} becoming ready", timeout=timeout, clock=site.clock)
    except TimedOut as error:
        cause = f"It is {seen['state']}: {seen['reason']}." if seen else None
        todo = "It stays asked for: `ai-how ps` shows when it is ready, `ai-how stop` gives it up."
        raise TimedOut(error.message, cause=cause, todo=todo) from error


# --- stopping ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Stopped:
    """What `stop` did: the replicas that end, and whether it was one of them alone, which is replaced."""

    model: str
    replicas: tuple[ReplicaWanted, ...]
    replaced: bool = False


def stop(site: Site, target: str, *, now: bool = False) -> Stopped:
    """Stop serving a model, or end one replica by its job's id: another takes its place where so many are wanted.

    Replicas end what they hold first, unless ``now``. Raises :class:`NotFound` when nothing is served under that name.
    """
    store = _store(site)
    replicas = Replicas(_folders(site), site.slurm)
    everyone = replicas.wanted()
    told = store.told()
    if target not in told and target.isdigit():
        for one in everyone:
            if one.job_id == int(target):
                replicas.write(_leaving(one, "somebody asked for its end", now))
                nudge(_folders(site))
                return Stopped(one.model, (one,), replaced=one.model in told)
    if target not in told or (told[target].desired.stopped and not now):
        raise _unknown(store, target)
    with store.change("command") as models:
        in_file = store.load("file").models.get(target)
        if in_file is None:
            models.pop(target, None)
        else:
            models[target] = in_file.model_copy(update={"stopped": True, "said": site.clock.now()})
    going = tuple(one for one in everyone if one.model == target)
    if now:
        for one in going:
            replicas.write(_leaving(one, "it is stopped at once", now))
        nudge(_folders(site))
    return Stopped(target, going)


def _leaving(one: ReplicaWanted, why: str, now: bool) -> ReplicaWanted:
    # Drains since ever: it has had its time.
    return one.model_copy(update={"leaving": why, **({"draining": 0.0} if now else {})})


def _unknown(store: Store, target: str) -> NotFound:
    served = (
        ", ".join(sorted(name for name, one in store.told().items() if not one.desired.stopped)) or "none"
    )
    return NotFound(f"no model is served as {target!r}", todo=f"Served models: {served}.")


# --- by the file ------------------------------------------------------------------------------------------


def settle(site: Site, progress: Progress) -> Sequence[str]:
    """Tell the reconciler what the site's file wants, at the end of `up`; returns what could not be done, in words.

    A model that cannot be found (yet) is no reason for `up` to fail: `ps` says so, and the next `up` tries again.
    """
    spec, now = site.file.spec.serving, site.clock.now()
    store = Store(_folders(site))
    before = store.load("file").models
    found: dict[str, Desired] = {}
    said = []
    for model in spec.models:
        new, fault = _of_file(site, model, progress, now)
        old = before.get(model.name)
        if fault:
            goes_on = old is not None and old.current is not None
            said.append(f"{model.name} {'stays as it was' if goes_on else 'is not served'}: {fault}")
            if old is not None and old.current is not None:
                new = new.model_copy(update={"current": old.current, "canary": old.canary})
        found[model.name] = wanted_of.from_file(old, new)
    stopped = [name for name, one in store.load("command").models.items() if one.stopped]
    if found != before:
        with store.change("file") as models:
            models.clear()
            models.update(found)
    if stopped:
        with store.change("command") as models:
            for name in stopped:
                models.pop(name, None)
    return said


def _of_file(site: Site, model: ServedModel, progress: Progress, now: float) -> tuple[Desired, str]:
    spec = site.file.spec.serving
    idle = seconds(model.idle or IDLE) if model.replicas.min == 0 else None
    scale = Scale(
        minimum=model.replicas.min,
        maximum=model.replicas.max,
        queue=model.scaling.queue,
        tokens=model.scaling.tokens,
        up_after=seconds(model.scaling.up_after),
        down_after=seconds(model.scaling.down_after),
        idle=idle,
        wakes=model.wakes,
    )
    desired = Desired(
        model=model.name, scale=scale, said=now, margin=seconds(spec.margin), drain=seconds(spec.drain)
    )
    try:
        _, current = resolve(site, wish_of(model, model.source), progress)
        changes: dict[str, object] = {"current": current}
        if model.canary is not None:
            _, canary = resolve(site, wish_of(model, model.canary.source), progress)
            if canary.id != current.id:
                changes |= {"canary": canary, "canary_weight": model.canary.weight}
    except AiHowError as error:
        return desired.model_copy(update={"fault": error.message}), error.message
    return desired.model_copy(update=changes), ""


def wish_of(model: ServedModel, source: str) -> Wish:
    """What the file wants of one version of a model."""
    asked = model.resources
    return Wish(
        reference=source,
        name=model.name,
        engine=model.engine,
        runtime=model.runtime,
        context=model.context,
        slots=model.slots,
        resources=ReplicaResources(
            cpus=asked.cpus,
            memory=asked.memory,
            time_limit=asked.time_limit,
            gres=asked.gres,
            partition=asked.partition,
            account=asked.account,
            qos=asked.qos,
        ),
    )


# --- looking ----------------------------------------------------------------------------------------------


def ps(site: Site) -> Facts:
    """The served models and their replicas, as the reconciler sees them just now.

    ``problem`` says why that is not certain. While no reconciler runs, every replica is ``unknown``.
    """
    refuse_unborn(site)
    store = Store(_folders(site))
    asked = site.clock.now()
    if nudge(_folders(site)):
        try:
            return wait_until(
                lambda: _since(store, asked),
                what="a look of the reconciler",
                timeout=_FRESH,
                clock=site.clock,
            )
        except TimedOut:
            return _unsure(store, "the reconciler takes long: its log is in the site's folder log/")
    return _unsure(store, "the reconciler does not run; `ai-how up` brings it up")


def _since(store: Store, asked: float) -> Facts | None:
    try:
        shown = store.shown()
    except NotFound:
        return None
    return shown if shown["at"] >= asked else None


def _unsure(store: Store, why: str) -> Facts:
    try:
        shown = dict(store.shown())
    except NotFound:
        shown = {"at": None, "models": [], "replicas": []}
    replicas = [{**one, "phase": "unknown", "reason": f"could not tell: {why}"} for one in shown["replicas"]]
    # What was stopped or given up stays so; the rest nobody looks at now.
    models = [
        {**one, "state": "unknown"} if one["state"] in ("ready", "starting") else one
        for one in shown["models"]
    ]
    return {**shown, "problem": why, "models": models, "replicas": replicas}


def shown_by(site: Site, store: Store) -> Facts:
    """What the reconciler wrote last; nothing of anything when it has not yet."""
    try:
        return store.shown()
    except NotFound:
        return {"models": [], "replicas": []}


def _folders(site: Site) -> SiteFolders:
    return SiteFolders.of(site.layout.root)


def _store(site: Site) -> Store:
    refuse_unborn(site)
    if not nudge(_folders(site)):
        raise UsageError(
            f"the site '{site.file.spec.name}' is not up: its reconciler does not run",
            todo="`ai-how up` brings it up.",
        )
    return Store(_folders(site))


__all__ = ["Asked", "Change", "Numbers", "Stopped", "Wish", "ps", "rollback", "serve", "settle", "stop"]
