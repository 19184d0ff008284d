"""The site acts: everything the command line does with one ``cluster.yaml``."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ai_how.errors import CouldNotTell, NotFound, UsageError
from ai_how.gpu.allocation import Allocation
from ai_how.gpu.check import CHECKS
from ai_how.gpu.demand import devices_of
from ai_how.host import Environments, Folders, Toolbox
from ai_how.host.inventory import Inventory, take_inventory
from ai_how.host.machine import Machine
from ai_how.host.probe import probe
from ai_how.host.programs import program
from ai_how.host.recorded import as_inventory
from ai_how.providers.cluster import Cluster
from ai_how.providers.existing import ExistingProvider, Reach, Together, reach
from ai_how.providers.local import LocalProvider
from ai_how.providers.model import Observed, Provider
from ai_how.run import Clock, FileLock, Gate, LocalGate, LocalShare, SystemClock
from ai_how.run.files import read_whole
from ai_how.services import Layout, Service, Setting, catalogue, gateway, mlflow, slurm
from ai_how.services.catalogue import SECRETS, environments, port_names, programs
from ai_how.services.model import Host
from ai_how.site import check, listeners, ports, tls, unsupported, whose
from ai_how.site.apply import Actions
from ai_how.site.execute import Executor
from ai_how.site.gpus import Gpus, gpus_of
from ai_how.site.model import Plan, Reporter, Silent
from ai_how.site.overview import Overview, overview
from ai_how.site.plan import make
from ai_how.site.state import SiteState
from ai_how.site.status import Status, observe_status
from ai_how.site.there import doubts
from ai_how.slurm.control import Slurm
from ai_how.slurm.facts import ClusterFacts
from ai_how.spec import SiteFile, parse

DEFAULT_FILE = "cluster.yaml"


def open_site(file: Path | None = None, root: Path | None = None, *, gate: Gate | None = None) -> Site:
    """The site that ``file`` (default: ``./cluster.yaml``) describes, in ``root`` or the user's data folder.

    Raises :class:`NotFound` without such a file and :class:`SpecError` with every mistake in it.
    """
    path = file or Path(DEFAULT_FILE)
    site_file = parse(read_whole(path), str(path), CHECKS)
    folders = Folders.of_user(os.environ)
    place = root.absolute() if root else folders.sites / site_file.spec.name
    return Site(site_file, path.absolute(), Layout(place), folders, gate or LocalGate())


@dataclass
class Site:
    """One site: its file, its folder, and what can be done with it."""

    file: SiteFile
    path: Path
    layout: Layout
    folders: Folders
    gate: Gate
    clock: Clock = SystemClock()
    #: The machine of an inventory file, where another one than this is rehearsed.
    rehearsed: Machine | None = None
    #: Whether it is being stopped: then a port that the file asks for may be somebody else's.
    ending: bool = False

    @cached_property
    def state(self) -> SiteState:
        return SiteState(self.layout)

    @cached_property
    def toolbox(self) -> Toolbox:
        return Toolbox(self.gate, self.folders)

    @cached_property
    def environments(self) -> Environments:
        return Environments(self.gate, self.folders)

    @cached_property
    def inventory(self) -> Inventory:
        here = take_inventory(self.layout.root)
        return as_inventory(self.rehearsed, here) if self.rehearsed else here

    @cached_property
    def machine(self) -> Machine | None:
        """The whole machine, where it matters: where virtual machines are made on it, or it is rehearsed."""
        clusters = self.file.spec.clusters
        if self.rehearsed or "libvirt" not in (clusters.hpc.provider, clusters.cloud.provider):
            return self.rehearsed
        return probe(self.gate, self.layout.root)

    @cached_property
    def provider(self) -> Provider:
        services = LocalProvider(self.layout, self.gate, self.inventory.user)
        return Together(services, ExistingProvider(self.reach)) if self.reach else services

    @cached_property
    def reach(self) -> Reach | None:
        """The way to a cluster that exists; None where the site's Slurm is its own."""
        hpc = self.file.spec.clusters.hpc
        if hpc.provider != "existing" or hpc.existing is None:
            return None
        return reach(self.file.spec.name, hpc.existing, self.layout, gate=self.gate, clock=self.clock)

    # --- what is, and what is asked -------------------------------------------------------------------

    def setting(self, *, make_secrets: bool = False) -> Setting:
        """Everything the services' definitions depend on, as far as it is known now."""
        return Setting(
            spec=self.file.spec,
            layout=self.layout,
            host=Host(
                name=self.inventory.hostname,
                user=self.inventory.user,
                is_root=self.inventory.root,
                loopback_name=self.inventory.loopback_name,
                character_devices=tuple(str(path) for path in self.inventory.devices),
            ),
            ports=self._ports(),
            programs={name: found for name in self.programs if (found := self.toolbox.find(name))},
            environments={
                name: folder / "bin" / "python"
                for name in environments(self.file.spec)
                if (folder := self.environments.find(name))
            },
            secrets=self.state.secrets(SECRETS, make=make_secrets),
            python=Path(sys.executable),
            gpus=self.gpus,
        )

    @cached_property
    def gpus(self) -> Allocation:
        """Who has which part of the GPUs that the file lists. Raises :class:`DoesNotFit`."""
        return self.shown_gpus.allocation if self.shown_gpus else Allocation()

    @cached_property
    def shown_gpus(self) -> Gpus | None:
        """The GPUs as they are drawn; None where the file lists none."""
        spec = self.file.spec
        return gpus_of(spec, self.rehearsed) if devices_of(spec) else None

    def overview(self) -> Overview:
        """Both clusters as the file asks for them, against what this machine has. Changes nothing."""
        return overview(self.file, self.gpus, self._ports(), self.inventory, self.there)

    @cached_property
    def there(self) -> ClusterFacts | None:
        """What a cluster that exists tells of itself; None where it does not answer, or there is none."""
        if self.reach is None:
            return None
        try:
            return self.reach.slurm.discover()
        except CouldNotTell:
            return None

    def plan(self) -> Plan:
        """What ``up`` would do now. Changes nothing. Raises :class:`SpecError` for what no provider does yet."""
        self._refuse_in_the_file()
        if self.reach:
            self.reach.open()
        setting = self.setting()
        services = catalogue(setting)
        observed = self.provider.observe(services)
        return make(services, observed, self._missing(), self._unready(observed), self._certificate(setting))

    def warnings(self) -> list[str]:
        """What is allowed but worth knowing, each with its place in the file."""
        said = [f"{self.file.where(*path)}: {words}" for path, words in unsupported.notes(self.file.spec)]
        if self.machine:
            said += check.shared_on(self.file, self.machine)
        if self.shown_gpus:
            said += self.shown_gpus.warnings
        if self.reach and self.there:
            said += doubts(self.file, self.there, self.reach.slurm.may_submit())
        return [*check.warnings(self.file, self.inventory, self.gpus), *said]

    def status(self) -> Status:
        """How the site is now. Changes nothing."""
        setting = self.setting()
        return observe_status(self.file.spec, setting, self.provider, self.slurm if self.exists else None)

    @property
    def exists(self) -> bool:
        return self.state.exists

    # --- doing ------------------------------------------------------------------------------------

    def up(self, reporter: Reporter | None = None) -> Plan:
        """Bring the site to what its file asks. Raises what went wrong, after taking back what it had made."""
        reporter = reporter or Silent()
        self._refuse_what_cannot_be()
        made = not self.layout.root.exists()
        if self.layout.root.is_relative_to(self.folders.home):
            self.folders.make()
        self.state.make_folders(shared_with_accounts=self.inventory.root)
        with FileLock(self.state.lock_path, "up"):
            try:
                return self._bring_up(reporter)
            except BaseException:
                # Only whoever holds the lock may remove anything: another `up` may be making the same folder.
                if made and not any(self.layout.data.glob("*")):
                    shutil.rmtree(self.layout.root, ignore_errors=True)
                raise

    def _bring_up(self, reporter: Reporter) -> Plan:
        self.state.set_identity(self.file.spec.name, self.path)
        if self.reach:
            self.reach.open()
        self._install(reporter)
        setting = self.setting(make_secrets=True)
        services = catalogue(setting)
        observed = self.provider.observe(services)
        plan = make(services, observed, {}, self._unready(observed), self._certificate(setting))
        former = self.state.ports()
        # Recorded before they are used, so that whoever comes after a crash finds what runs.
        self.state.set_ports(setting.ports)
        reporter.planned(plan)
        try:
            self._execute(plan, services, reporter)
        except BaseException:
            # What ran before runs on its former ports again; what did not has none yet. A disk that refuses to
            # keep that is not what went wrong first.
            with suppress(OSError):
                self.state.restore_ports(former)
            raise
        return plan

    def down(self, reporter: Reporter | None = None) -> None:
        """Stop every process of the site; its data stay. Jobs that can be requeued run again at the next ``up``."""
        if not self.layout.root.exists():
            return
        with FileLock(self.state.lock_path, "down"):
            self._end(reporter or Silent())
            self.state.journal(event="down")

    def destroy(self, reporter: Reporter | None = None) -> None:
        """Stop everything and remove the site's folder, data and all. Raises :class:`UsageError` for any other."""
        reporter = reporter or Silent()
        if not self.layout.root.exists():
            raise NotFound(f"there is no site '{self.file.spec.name}'", where=str(self.layout.root))
        whose.refuse_strange(self.state)
        whose.refuse_other(self.state, self.file, self.path)
        # Held to the end: an `up` in between would bring up what is being taken away.
        with FileLock(self.state.lock_path, "destroy"):
            if self.reach:
                from ai_how.site.leave import leave

                # First what is far: without the site's folder nobody would find it again.
                self.provider.destroy("reconciler")
                leave(self.reach, self.layout, reporter)
            self._end(reporter)
            self.state.remove()

    def _end(self, reporter: Reporter) -> None:
        from ai_how.jobs.aside import clear_aside  # not at each start: only an end needs it
        from ai_how.site.leave import end_replicas

        self.ending = True
        try:
            # First: it would ask for new replicas in the place of those that are parked.
            self.provider.stop("reconciler")
            if self.reach is None:
                self._actions((), reporter).park_jobs()
            else:
                end_replicas(self.reach, self.layout, reporter)
            reporter.note("stopping the daemons")
            self.provider.close(catalogue(self.setting()))
        finally:
            self.ending = False
        clear_aside(self.layout)

    def _install(self, reporter: Reporter) -> None:
        self.toolbox.ensure(self.programs, reporter.note)
        for name in environments(self.file.spec):
            self.environments.ensure(name, reporter.note)

    def _execute(self, plan: Plan, services: tuple[Service, ...], reporter: Reporter) -> None:
        actions = self._actions(services, reporter)
        Executor(actions.table, self.state, reporter, self.clock).run(plan)

    def _actions(self, services: tuple[Service, ...], reporter: Reporter) -> Actions:
        return Actions(self.provider, services, self.slurm, reporter, self.clock, self._certify)

    def _certificate(self, setting: Setting) -> tuple[str | None, str] | None:
        return tls.due(setting, self.clock.now())

    def _certify(self) -> None:
        tls.renew(self.setting(), self.clock.now())

    def _unready(self, observed: Observed) -> list[str]:
        """Nodes that a healthy slurmctld waits for."""
        if "slurmctld" not in observed.services or not observed.services["slurmctld"].healthy:
            return []
        return [node.name for node in self.slurm.nodes() if node.unheard]

    def _missing(self) -> Mapping[str, str]:
        missing = {name: program(name).purpose for name in self.programs if self.toolbox.find(name) is None}
        for name in environments(self.file.spec):
            if self.environments.find(name) is None:
                missing[f"{name} environment"] = "the services run in it"
        return missing

    def _refuse_in_the_file(self) -> None:
        problems = list(unsupported.problems(self.file))
        if self.machine:
            problems += check.on_machine(self.file, self.machine)
        if problems:
            raise unsupported.refusal(problems)

    def _refuse_what_cannot_be(self) -> None:
        """What would fail half way is refused before anything is changed."""
        whose.refuse_strange(self.state)
        whose.refuse_other(self.state, self.file, self.path)
        self._refuse_in_the_file()
        check.refuse(self.file, self.layout, self.inventory, self.gpus)

    def _ports(self) -> Mapping[str, int]:
        asked = list(port_names(self.file.spec))
        where = {
            name: self.file.where("clusters", "cloud", "services", name.replace("-", "_"), "port")
            for name, port in asked
            if port is not None
        }
        foreign = {} if self.ending else listeners.foreign(self.layout.root, self.folders.sites)
        return ports.allocate(str(self.layout.root), asked, self.state.ports(), foreign, where)

    # --- what the rooms below need -----------------------------------------------------------------

    @cached_property
    def slurm(self) -> Slurm:
        """The site's Slurm, for jobs. sbatch hands its PATH on to them: there they find srun, unpacked too."""
        if self.reach:
            return self.reach.slurm
        path, found = os.environ.get("PATH", os.defpath), self.program_paths
        if "srun" in found:
            path += f"{os.pathsep}{found['srun'].parent}"
        return Slurm(self.gate, {**slurm.client_env(self.setting()), "PATH": path}, found)

    @cached_property
    def cluster(self) -> Cluster:
        """The site's Slurm with the files that its nodes see, and the way to their ports."""
        return self.reach.cluster if self.reach else Cluster(self.slurm, LocalShare(), self.layout.share)

    @property
    def program_paths(self) -> Mapping[str, Path]:
        """Where each program is, by name."""
        return {name: found.path for name in self.programs if (found := self.toolbox.find(name))}

    @property
    def programs(self) -> tuple[str, ...]:
        """The programs that this site needs, by the toolbox's names."""
        return programs(self.file.spec)

    @property
    def tracking_uri(self) -> str:
        return mlflow.tracking_uri(self.setting())

    @property
    def gateway_url(self) -> str:
        return gateway.base_url(self.setting())

    @property
    def gateway_token(self) -> str:
        """The site's own token for its gateway; raises :class:`UsageError` where there has never been one."""
        file = gateway.token_file(self.layout)
        if not file.exists():
            name = self.file.spec.name
            todo = "`ai-how up` brings it up."
            raise UsageError(f"the site '{name}' has no gateway yet", where=str(file), todo=todo)
        return file.read_text()

    @property
    def gateway_ca(self) -> Path | None:
        """The certificate that the gateway is known by; None where it speaks no TLS."""
        return tls.authority(self.setting())

    @property
    def trusting(self) -> Mapping[str, str]:
        """What a program needs in its environment to know the gateway by its certificate."""
        return tls.environment(self.setting())
