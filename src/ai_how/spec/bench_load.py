"""When a bench recipe asks, how its points vary, and what a good answer keeps. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from ai_how.spec.values import Frozen

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
#: Requests that one run may hold: their samples are kept in memory until its end.
MOST = 2_000_000
#: Seconds of a run.
LONGEST = 86_400
#: A value that a sweep or a second side gives to a key.
Setting = bool | int | float | str
#: A key of the recipe, such as ``load.rate``.
Key = Annotated[str, Field(pattern=r"^[a-z_]+(\.[a-z_]+)+$")]


class Load(Frozen):
    """When requests are sent. All but `closed` are schedules that are fixed before the first request."""

    arrivals: Literal["constant", "poisson", "bursts", "ramp", "trace", "closed"] = Field(
        "poisson",
        description="How requests arrive; `closed`: each client sends its next one when it has its answer.",
    )
    rate: Positive | None = Field(None, description="Requests a second; of a ramp, at its beginning.")
    to_rate: Positive | None = Field(None, description="Requests a second at the end of a ramp.")
    seconds: Positive = Field(30.0, le=LONGEST, description="How long requests are sent.")
    shape: Positive = Field(
        0.25, description="Shape of the gamma gaps of `bursts`; 1 is poisson, less is burstier."
    )
    times: tuple[Annotated[float, Field(allow_inf_nan=False)], ...] = Field(
        (), description="Times of a `trace`, in seconds."
    )
    clients: int = Field(1, ge=1, le=10_000, description="Clients of a `closed` loop.")
    connections: int = Field(
        64,
        ge=1,
        le=20_000,
        description="Connections at most; who finds none free waits, and that time counts.",
    )
    seed: int = Field(1, description="Seed of the arrivals; each repetition has its own, made of it.")
    processes: int = Field(
        1,
        ge=1,
        le=256,
        description="Processes that generate the load, on each node; one schedule is dealt out.",
    )
    nodes: int = Field(
        0, ge=0, le=1024, description="Nodes that generate it, by srun; 0 is this machine, without Slurm."
    )

    @model_validator(mode="after")
    def _is_whole(self) -> Load:
        if self.arrivals == "trace":
            if len(self.times) < 2:
                raise ValueError("arrivals of a 'trace' need 'times', two or more")
            if max(self.times) - min(self.times) > LONGEST:
                raise ValueError(f"the 'times' of a trace span more than {LONGEST:,} seconds")
        elif self.arrivals != "closed" and self.rate is None:
            raise ValueError(f"arrivals of the kind '{self.arrivals}' need 'rate', requests a second")
        if self.arrivals == "ramp" and self.to_rate is None:
            raise ValueError("arrivals of a 'ramp' need 'to_rate', the requests a second at its end")
        if self.arrivals != "trace" and max(self.rate or 0, self.to_rate or 0) * self.seconds > MOST:
            raise ValueError(f"more than {MOST:,} requests in one run: make 'seconds' shorter and repeat it")
        if self.arrivals == "closed" and self.clients < self.generators:
            raise ValueError(f"{self.clients} clients cannot be dealt out to {self.generators} processes")
        return self

    @property
    def peak(self) -> float | None:
        """The highest rate asked for, in requests a second; of a trace its mean. None for a closed loop."""
        if self.arrivals == "closed":
            return None
        if self.arrivals == "trace":
            return len(self.times) / max(max(self.times) - min(self.times), 1e-9)
        return max(self.rate or 0.0, (self.to_rate or 0.0) if self.arrivals == "ramp" else 0.0)

    @property
    def generators(self) -> int:
        """Processes in all."""
        return self.processes * max(1, self.nodes)


class Search(Frozen):
    """Seek the highest load that meets the objective: double until it is missed, then halve the gap."""

    key: Literal["load.rate", "load.clients"] = Field("load.rate", description="What is raised.")
    low: Positive = Field(1.0, description="Where it begins.")
    high: Positive = Field(10_000.0, description="Where it ends at the latest.")
    within: Annotated[float, Field(gt=0, le=1)] = Field(
        0.05, description="How near the two ends of the answer are to each other, as a share."
    )

    @model_validator(mode="after")
    def _has_a_range(self) -> Search:
        if self.high <= self.low:
            raise ValueError(f"a search from {self.low:g} to {self.high:g} has nowhere to go")
        return self


class Objective(Frozen):
    """What a request must keep to be a good one; goodput is the good ones a second."""

    latency_ms: Positive | None = Field(None, description="From when it was due to the end of its answer.")
    first_token_ms: Positive | None = Field(None, description="From when it was due to its first token.")
    token_ms: Positive | None = Field(None, description="Mean time of a token after the first.")
    share: Annotated[float, Field(gt=0, le=1)] = Field(
        0.99, description="Share of the requests that must be good for a load to count as met."
    )

    @property
    def asks(self) -> bool:
        """Whether it sets any limit."""
        return any(limit is not None for limit in (self.latency_ms, self.first_token_ms, self.token_ms))


class Prices(Frozen):
    """A rate card, and how many generators of load one user is: for answers in a centre's own units."""

    node_hour: Positive | None = Field(None, description="What an hour of one node costs, in `currency`.")
    currency: str = Field("EUR", description="Currency of the rate card.")
    nodes: Positive = Field(1.0, description="Nodes that the service under test runs on.")
    user_rate: Positive | None = Field(
        None, description="Requests a second that one user makes; turns a rate into users."
    )
