"""From what is to what is asked. Pure: what ``plan`` prints and what ``up`` does is decided here, once."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ai_how.errors import CouldNotTell
from ai_how.providers.model import Observation, Observed, State
from ai_how.services import Service
from ai_how.site.model import Action, Plan, Step

_NODE = "slurmd-"
SUPERVISOR = "supervisord"
NODES = "nodes"
CERTIFICATE = "gateway-certificate"


def make(
    wanted: Sequence[Service],
    observed: Observed,
    missing: Mapping[str, str],
    unready: Sequence[str] = (),
    certificate: tuple[str | None, str] | None = None,
) -> Plan:
    """The plan. ``missing`` are programs and environments that are not there, each with what it is for;
    ``unready`` are nodes whose daemons may run, but which take no jobs yet. ``certificate`` is why the gateway needs
    one, or None and what is good about the one it has; None where it speaks no TLS.

    Raises :class:`CouldNotTell` when a service could not be observed: nothing is planned on a guess.
    """
    install = [Step(Action.INSTALL, name, f"it is not there; {purpose}") for name, purpose in missing.items()]
    first = [step.id for step in install]
    if observed.strays:
        lost = ", ".join(sorted({stray.service for stray in observed.strays}))
        sweep = Step(Action.SWEEP, "strays", f"nobody supervises these any more: {lost}", tuple(first))
        install.append(sweep)
        first.append(sweep.id)
    if certificate is not None:
        why, good = certificate
        certify = Step(Action.CERTIFY if why else Action.NOTHING, CERTIFICATE, why or good, tuple(first))
        install.append(certify)
        first += [certify.id] if why else []
    supervisor = _supervisor(observed, tuple(first))
    # Strays may be writing to what the next steps make anew: nothing begins before they have ended.
    base = (supervisor.id,) if supervisor.action is not Action.NOTHING else tuple(first)
    removals = list(_removals(observed, base))
    steps = [*install, supervisor, *removals]
    chosen: dict[str, Step] = {}
    for service in wanted:
        step = _service(service, observed.services[service.name])
        before = [chosen[name].id for name in service.after if chosen[name].action is not Action.NOTHING]
        if service.name == "slurmctld":
            before += [step.id for step in removals if step.target.startswith(_NODE)]
        chosen[service.name] = Step(step.action, step.target, step.why, (*base, *before))
    steps += chosen.values()
    if "slurmctld" in chosen:
        steps += _joining(chosen, removals, unready)
    return Plan(tuple(steps))


def _supervisor(observed: Observed, after: tuple[str, ...]) -> Step:
    if observed.supervised:
        return Step(Action.NOTHING, SUPERVISOR, "it runs")
    return Step(Action.OPEN, SUPERVISOR, "the site's supervisord does not run", after)


def _service(service: Service, found: Observation) -> Step:
    match found.state:
        case State.ABSENT:
            return Step(Action.CREATE, service.name, f"it does not exist yet; {service.purpose}")
        case State.STOPPED:
            return Step(Action.START, service.name, f"it does not run; {service.purpose}")
        case State.FAILED:
            return Step(Action.RESTART, service.name, f"it does not stay up: {found.detail}")
        case State.UNKNOWN:
            raise CouldNotTell(
                f"{service.name} could not be observed: {found.detail}",
                todo="Nothing was changed. Try again, or `ai-how down` and `ai-how up`.",
            )
        case State.RUNNING:
            return _running(service, found)


def _running(service: Service, found: Observation) -> Step:
    if found.digest != service.digest:
        return Step(Action.CHANGE, service.name, "it runs by an earlier definition")
    if found.healthy is False:
        return Step(Action.RESTART, service.name, f"it runs, but is not healthy: {found.detail}")
    if found.healthy is None:
        raise CouldNotTell(f"whether {service.name} is healthy could not be told: {found.detail}")
    return Step(Action.NOTHING, service.name, "it runs as asked and is healthy")


def _removals(observed: Observed, base: tuple[str, ...]) -> Iterator[Step]:
    for name in observed.extra:
        if not name.startswith(_NODE):
            yield Step(Action.REMOVE, name, "the file asks for no such service any more", base)
            continue
        why, before = "the file has no such node any more", base
        # While the site is down no job runs on it, and there is nobody who could be asked to drain it.
        if observed.supervised:
            yield Step(Action.DRAIN, name, f"{why}; its jobs may end first", base)
            before = (f"{Action.DRAIN}:{name}",)
        yield Step(Action.REMOVE, name, why, before)


def _joining(chosen: Mapping[str, Step], removals: Sequence[Step], unready: Sequence[str]) -> Iterator[Step]:
    """What concerns all nodes at once, after each of them was seen to."""
    nodes = [step for name, step in chosen.items() if name.startswith(_NODE)]
    controller = chosen["slurmctld"]
    busy = tuple(step.id for step in (controller, *nodes) if step.action is not Action.NOTHING)
    if not busy and unready:
        yield Step(Action.REGISTER, NODES, f"not ready for jobs yet: {', '.join(unready)}")
        return
    if not busy:
        yield Step(Action.NOTHING, NODES, "every node is registered")
        return
    register = Step(Action.REGISTER, NODES, "every node must be ready for jobs", busy)
    kept = any(step.action is Action.NOTHING for step in nodes)
    if controller.action is Action.CHANGE and kept:
        reconfigure = Step(
            Action.RECONFIGURE, "slurmd", "the nodes that keep running must learn of the new slurm.conf", busy
        )
        yield reconfigure
        register = Step(register.action, register.target, register.why, (*busy, reconfigure.id))
    yield register
