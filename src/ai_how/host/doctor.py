"""What the doctor sees: the checks that the providers need, programs, runtime environments, and what is missing."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ai_how.host.checks import Check, Facts, Needs, exit_code, judge
from ai_how.host.checks_machines import for_providers
from ai_how.host.environments import Environment, Environments
from ai_how.host.folders import Folders
from ai_how.host.inventory import Inventory, take_inventory
from ai_how.host.machine import Machine
from ai_how.host.model import Distribution, Found, Program
from ai_how.host.needs import networks
from ai_how.host.programs import CATALOGUE
from ai_how.host.toolbox import Toolbox
from ai_how.run import Gate
from ai_how.spec.model import SiteSpec


@dataclass(frozen=True)
class Diagnosis:
    """All that the doctor found. ``command`` installs every missing program at once, where it is known."""

    distribution: Distribution
    inventory: Inventory
    home: Path
    programs: tuple[tuple[Program, Found | None], ...]
    environments: tuple[Environment, ...]
    command: str | None

    @property
    def missing(self) -> tuple[Program, ...]:
        return tuple(program for program, found in self.programs if found is None)

    def as_json(self) -> dict[str, object]:
        """The same facts for ``--json``."""
        machine = self.inventory
        return {
            "distribution": {"release": self.distribution.release, "name": self.distribution.name},
            "machine": {
                "hostname": machine.hostname,
                "user": machine.user,
                "root": machine.root,
                "kernel": platform.release(),
                "cpus": machine.cpus,
                "memory_bytes": machine.memory,
                "disk_free_bytes": machine.disk_free,
                "devices": [str(path) for path in machine.devices],
            },
            "home": str(self.home),
            "programs": [_program_as_json(program, found) for program, found in self.programs],
            "environments": [
                {"name": each.name, "built": each.built, "path": str(each.folder)}
                for each in self.environments
            ],
            "missing": [program.name for program in self.missing],
            "command": self.command,
        }


@dataclass(frozen=True)
class Examination:
    """A machine, found or rehearsed, and how it came out of the checks of what is asked of it."""

    machine: Machine
    needs: Needs
    checks: tuple[Check, ...]

    @property
    def exit_code(self) -> int:
        """0 when all is well; see :func:`ai_how.host.checks.exit_code`."""
        return exit_code(self.checks)

    def as_json(self) -> dict[str, object]:
        return {
            "providers": sorted(self.needs.providers),
            "checks": [check.as_json() for check in self.checks],
            "inventory": self.machine.model_dump(mode="json", exclude_defaults=True),
        }


def examine(
    machine: Machine,
    needs: Needs,
    *,
    spec: SiteSpec | None = None,
    here: Diagnosis | None = None,
    taken: Mapping[int, str] | None = None,
) -> Examination:
    """Judge ``machine`` by what is needed, and by the networks of the file. Pure.

    ``here`` and ``taken`` are what only a look at the machine itself can tell: its programs, and the ports that
    somebody else listens on. A rehearsal has neither.
    """
    facts = Facts(
        machine,
        missing=None if here is None else tuple(program.name for program in here.missing),
        command=here.command if here else None,
        taken=taken,
        family=machine.family or Distribution(machine.release.partition("-")[0], "", "").family,
    )
    checks = judge(facts, needs, for_providers(needs.providers))
    of_the_file = networks(spec, machine) if spec else None
    return Examination(machine, needs, (*checks, of_the_file) if of_the_file else checks)


def _program_as_json(program: Program, found: Found | None) -> dict[str, object]:
    return {
        "name": program.name,
        "purpose": program.purpose,
        "version": found.version if found else None,
        "origin": found.origin if found else None,
        "path": str(found.path) if found else None,
    }


def diagnose(gate: Gate, folders: Folders) -> Diagnosis:
    """Look at everything; change nothing."""
    toolbox = Toolbox(gate, folders)
    programs = tuple((program, toolbox.find(program.name)) for program in CATALOGUE.values())
    missing = [program.name for program, found in programs if found is None]
    return Diagnosis(
        distribution=toolbox.distribution,
        inventory=take_inventory(folders.home),
        home=folders.home,
        programs=programs,
        environments=tuple(Environments(gate, folders).all()),
        command=toolbox.how(missing),
    )
