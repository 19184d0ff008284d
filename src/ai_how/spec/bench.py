"""The types of a bench recipe: what is measured, under which load, how often. Pure."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ai_how.errors import SpecError
from ai_how.spec.load import load
from ai_how.spec.parse import validate
from ai_how.spec.values import Frozen

Positive = Annotated[float, Field(gt=0)]
#: A name in the environment.
Variable = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
#: `http://HOST:PORT`; a host in brackets is an IPv6 address.
_ADDRESS = re.compile(r"^http://([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{1,5})?/?$")
#: Requests that one run may hold: their samples are kept in memory until its end.
MOST = 2_000_000


class Target(Frozen):
    """What is measured: an address, or the gateway of the site."""

    api: Literal["http", "openai"] = Field(
        "http", description="`http`: one request, one answer. `openai`: a streamed chat completion."
    )
    url: str | None = Field(
        None, description="Address, such as http://127.0.0.1:8080; the gateway when left out."
    )
    token_variable: Variable | None = Field(
        None, description="Variable of the environment that holds the token; the gateway's own is known."
    )
    method: Literal["GET", "POST", "PUT"] = Field("GET", description="Method; for `http`.")
    path: Annotated[str, Field(pattern=r"^/[!-~]*$")] = Field("/", description="Path and query; for `http`.")
    body: str = Field("", description="Body of the request; for `http`.")
    model: str | None = Field(None, description="The served model's name; for `openai`.")

    @model_validator(mode="after")
    def _is_whole(self) -> Target:
        if self.api == "openai" and not self.model:
            raise ValueError("a target of the api 'openai' needs 'model', the served model's name")
        if self.url is not None:
            if not _ADDRESS.match(self.url):
                raise ValueError(
                    f"'{self.url}' is no address that can be loaded: http://HOST:PORT without a path is wanted"
                )
        elif self.api == "http":
            raise ValueError("a target of the api 'http' needs 'url', such as http://127.0.0.1:8080")
        return self


class Prompts(Frozen):
    """Prompts made of words by a seeded generator, so that every run asks the same and no two requests are alike."""

    words: int = Field(64, ge=1, le=100_000, description="Words of a prompt in the mean.")
    spread: Annotated[float, Field(ge=0, le=1)] = Field(
        0.25, description="Standard deviation of the length, as a share of `words`."
    )
    shared: Annotated[float, Field(ge=0, le=1)] = Field(
        0.0, description="Share of `words` with which all prompts begin alike: what a prefix cache can save."
    )
    max_tokens: int = Field(64, ge=1, le=100_000, description="Tokens that an answer may have.")
    temperature: Annotated[float, Field(ge=0)] = Field(0.0, description="0 is the same answer each time.")
    seed: int = Field(1, description="Seed of the generator.")


class Load(Frozen):
    """When requests are sent. All but `closed` are schedules that are fixed before the first request."""

    arrivals: Literal["constant", "poisson", "bursts", "ramp", "trace", "closed"] = Field(
        "poisson",
        description="How requests arrive; `closed`: each client sends its next one when it has its answer.",
    )
    rate: Positive | None = Field(None, description="Requests a second; of a ramp, at its beginning.")
    to_rate: Positive | None = Field(None, description="Requests a second at the end of a ramp.")
    seconds: Positive = Field(30.0, le=86_400, description="How long requests are sent.")
    shape: Positive = Field(
        0.25, description="Shape of the gamma gaps of `bursts`; 1 is poisson, less is burstier."
    )
    times: tuple[float, ...] = Field((), description="Times of a `trace`, in seconds.")
    clients: int = Field(1, ge=1, le=10_000, description="Clients of a `closed` loop.")
    connections: int = Field(
        64,
        ge=1,
        le=20_000,
        description="Connections at most; who finds none free waits, and that time counts.",
    )
    seed: int = Field(1, description="Seed of the arrivals; each repetition has its own, made of it.")

    @model_validator(mode="after")
    def _is_whole(self) -> Load:
        if self.arrivals == "trace":
            if len(self.times) < 2:
                raise ValueError("arrivals of a 'trace' need 'times', two or more")
        elif self.arrivals != "closed" and self.rate is None:
            raise ValueError(f"arrivals of the kind '{self.arrivals}' need 'rate', requests a second")
        if self.arrivals == "ramp" and self.to_rate is None:
            raise ValueError("arrivals of a 'ramp' need 'to_rate', the requests a second at its end")
        if self.arrivals != "trace" and max(self.rate or 0, self.to_rate or 0) * self.seconds > MOST:
            raise ValueError(f"more than {MOST:,} requests in one run: make 'seconds' shorter and repeat it")
        return self

    @property
    def peak(self) -> float | None:
        """The highest rate asked for, in requests a second; of a trace its mean. None for a closed loop."""
        if self.arrivals == "closed":
            return None
        if self.arrivals == "trace":
            return len(self.times) / max(max(self.times) - min(self.times), 1e-9)
        return max(self.rate or 0.0, (self.to_rate or 0.0) if self.arrivals == "ramp" else 0.0)


class Objective(Frozen):
    """What a request must keep to be a good one; goodput is the good ones a second."""

    latency_ms: Positive | None = Field(None, description="From when it was due to the end of its answer.")
    first_token_ms: Positive | None = Field(None, description="From when it was due to its first token.")
    token_ms: Positive | None = Field(None, description="Mean time of a token after the first.")


class BenchRecipe(Frozen):
    """One bench recipe: a file that says what is measured, and how."""

    version: Literal["1.0"] = Field(description="Version of this file's shape, in quotes.")
    kind: Literal["bench"] = Field(description="The kind of work.")
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")] = Field(description="Name of the recipe.")
    description: str = Field("", description="One line about it.")
    target: Target = Field(description="What is measured.")
    prompts: Prompts = Field(default_factory=Prompts, description="What is asked; for `openai`.")
    load: Load = Field(description="How requests arrive.")
    repetitions: int = Field(3, ge=1, le=100, description="Runs; intervals and comparisons need several.")
    timeout: Positive = Field(60.0, description="Seconds after which a request that was sent has failed.")
    warmup: Literal["test", "none"] = Field(
        "test", description="`test`: what a test finds to be warm-up is cut; `none`: everything counts."
    )
    objective: Objective = Field(default_factory=Objective, description="What a good request keeps.")


def parse_bench(text: str, name: str) -> BenchRecipe:
    """A bench recipe from its text. Raises :class:`SpecError` with every mistake in it."""
    data, positions, problems = load(text, name)
    if problems:
        raise SpecError([problem for _, problem in problems])
    return validate(BenchRecipe, data, positions, name)
