"""The four interfaces of a benchmark, and what passes between them. Pure.

- :class:`Service`, the service under test: brought up for the benchmark (as a Slurm job, or here), or there already;
- :class:`Client`, which loads it: the load core, or a program that brings its own load, such as fio;
- :class:`Monitor`, which samples the service and the machines meanwhile;
- :class:`Log`, which keeps everything, after every run.

A :class:`Target` makes the first two for one kind of target; :mod:`ai_how.bench.targets` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ai_how.bench.exchange import Exchange
from ai_how.bench.histogram import Histogram
from ai_how.bench.model import Calibration, Generator, Result, Series, Value
from ai_how.bench.work import Address, Progress, Work
from ai_how.run import Clock, Gate, SystemClock
from ai_how.spec.bench import BenchRecipe
from ai_how.spec.bench_target import Deploy

if TYPE_CHECKING:
    from ai_how.slurm.control import Slurm

Heard = Callable[[Progress], None]
"""Who is told how a run goes, several times a second."""


@dataclass(frozen=True)
class Script:
    """A train recipe as far as it is measured: the folders whose files it needs, its script with its arguments, and the
    kept environment that it runs in.
    """

    folders: tuple[Path, ...]
    script: str
    arguments: Mapping[str, str | int | float | bool]
    environment: str


class Deployer(Protocol):
    """Serves models for the time of a benchmark. Whoever composes a benchmark with a site has one."""

    def up(self, name: str, asked: Deploy) -> Mapping[str, Any]:
        """Serve a model under that name, wait until it answers, and tell what answers: jobs, nodes, engine, version.

        Raises :class:`AiHowError` when it cannot, or when something else is served under that name already.
        """
        ...

    def down(self, name: str) -> None:
        """Take it down where :meth:`up` has brought it up, and wait until it is gone. Safe to call twice."""
        ...


@dataclass(frozen=True)
class Place:
    """Where a benchmark runs, and what it may use there.

    ``folder`` is its own scratch, removed afterwards; ``share`` one that every node of the cluster sees. ``address``
    and ``token`` are of the target, where it has such; ``settings`` what the site knows of its services (addresses,
    names of databases, credentials), never written into a result. ``deployer`` serves models where a site does,
    ``scripts`` finds train recipes.
    """

    gate: Gate
    folder: Path
    address: Address | None = None
    token: str | None = field(default=None, repr=False)
    clock: Clock = field(default_factory=SystemClock)
    slurm: Slurm | None = None
    slurm_env: Mapping[str, str] = field(default_factory=dict)
    srun: str = "srun"
    share: Path | None = None
    settings: Mapping[str, str] = field(default_factory=dict, repr=False)
    deployer: Deployer | None = None
    scripts: Callable[[str], Script] | None = None


@dataclass(frozen=True)
class Measured:
    """What one run of a client left. Times are seconds, histograms nanoseconds.

    A client that sees every request gives ``exchanges``, and the rest is computed from them. One that drives a
    program with a load of its own gives ``histograms`` and ``values``, with ``sent``, ``good`` and ``errors``.
    ``achieved`` is the rate at which it asked as a share of the rate intended, where it was asked for one, and ``cut``
    how many requests it left out as warm-up.
    ``reasons`` is what it knows against its own figures, ``doubts`` against those of one name alone;
    ``notes`` are facts to keep, such as an engine's own timings.
    ``cache`` tells the state in which a cache was: ``cold``, ``warm``, ``none`` or ``unknown``.
    ``tokens_agree`` is the model's own tokenizer's count as a share of the server's.
    """

    seconds: float
    exchanges: Sequence[Exchange] = ()
    histograms: Mapping[str, Histogram] = field(default_factory=dict)
    values: Mapping[str, Value] = field(default_factory=dict)
    series: Sequence[Series] = ()
    intended: int | None = None
    sent: int = 0
    good: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    busy: float | None = None
    achieved: float | None = None
    cut: int = 0
    stopped: str | None = None
    steady: bool | None = None
    steady_why: str = ""
    cache: str | None = None
    tokens_agree: float | None = None
    reasons: Sequence[str] = ()
    doubts: Mapping[str, str] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)
    generators: Sequence[Generator] = ()


class Service(Protocol):
    """The service under test."""

    def start(self) -> Mapping[str, Any]:
        """Make it ready, and tell what is measured: version, size, settings, job, nodes, image digest.

        Raises :class:`CouldNotTell` when it does not answer: nothing was measured then, and nothing is lost.
        """
        ...

    def stop(self) -> None:
        """Take down what :meth:`start` brought up, and only that."""
        ...


class Client(Protocol):
    """Loads the service, at one point of the sweep: the recipe that it was made of has the point's values."""

    def calibrate(self) -> Calibration | None:
        """What the generator itself can do for such a load; None where it is not ours.

        Raises :class:`AiHowError` with the figure when the recipe asks for more.
        """
        ...

    def run(self, number: int, heard: Heard | None = None) -> Measured:
        """Repetition ``number``, from 1. Ctrl-C and a target that goes down end it early, with ``stopped``.

        Raises :class:`OSError` when the target takes no connection at all.
        """
        ...

    def close(self) -> None:
        """Let go of what it holds."""
        ...


class Monitor(Protocol):
    """Samples the machines, and the service where it can, between :meth:`start` and :meth:`stop`."""

    def start(self) -> None: ...

    def stop(self) -> tuple[Series, ...]:
        """What it sampled since. A monitor that could not sample gives nothing rather than end a run."""
        ...


class Log(Protocol):
    """Keeps everything: called after every run with all that is known by then, so that nothing is lost."""

    def samples(self, run: int, exchanges: Sequence[Exchange]) -> None:
        """Keep the single requests of the run that is the ``run``-th of the result, from 0."""
        ...

    def keep(self, result: Result) -> None:
        """Keep the result so far; called again with more."""
        ...


class Target(Protocol):
    """One kind of target: the word behind ``target.api``, and how it is brought up and loaded."""

    api: str

    def service(self, recipe: BenchRecipe, place: Place) -> Service: ...
    def client(self, recipe: BenchRecipe, place: Place) -> Client: ...


class Loaded(Target, Protocol):
    """A target that our load core drives: it says what is asked, and the core does the rest, on several processes
    too.

    Its :meth:`Target.client` is what :func:`ai_how.bench.loaded.loaded` makes.
    """

    def work(self, recipe: BenchRecipe, place: Place) -> Work: ...
