"""The endpoint record: how a replica tells the gateway where it listens.

The replica launcher writes one JSON file a replica into the site's ``share/endpoints`` folder, once the
engine has proved that it serves the model, and anew at every heartbeat. The replica's secret lies beside it.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

RECORD_VERSION: Literal["1.0"] = "1.0"
#: What may name a model that is served.
MODEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127}$"


class EngineLoad(BaseModel):
    """What an engine says of its load: requests that it works on and that wait inside it, and the share of its cache
    of keys and values in use (0 to 1), each None where it does not tell."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    running: int | None = Field(default=None, ge=0)
    waiting: int | None = Field(default=None, ge=0)
    cache: float | None = Field(default=None, ge=0)


class EndpointRecord(BaseModel):
    """Where one replica listens. Times are seconds since the epoch, by the clock of the replica's node.

    ``nonce`` is the replica's own name, made when it was asked for: a record whose nonce nobody asked for is
    not ours, whatever job it names. Unknown fields are kept out of the way, so that an older gateway reads
    the record of a newer launcher.

    ``leaving``: Slurm has told the job that its end is near; what it serves still is served, and a replacement should
    be on its way. ``load`` is what the engine's own metrics said at the heartbeat, where it has some. ``slots`` is how
    many requests the engine works on at once, where that is known.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    version: Literal["1.0"]
    model: str = Field(min_length=1)
    host: str = Field(min_length=1)
    port: int = Field(ge=1, le=65535)
    job_id: int = Field(ge=0)
    nonce: str = Field(pattern=r"^[0-9a-f]{16,64}$")
    uid: int = Field(ge=0)
    engine: str = Field(min_length=1)
    started: float
    heartbeat: float
    leaving: bool = False
    load: EngineLoad | None = None
    slots: int | None = Field(default=None, ge=1)

    @property
    def record_file(self) -> str:
        """The name of the record's file in the endpoints folder."""
        return f"{self.nonce}.json"

    @property
    def secret_file(self) -> str:
        """The name of the file, beside the record, that holds the replica's secret."""
        return f"{self.nonce}.secret"
