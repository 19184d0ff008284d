"""The gateway's types. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from ai_how.wire import EndpointRecord, ErrorBody, ErrorEnvelope, FaultSource
from ai_how.wire.ollama import OllamaError

Api = Literal["openai", "ollama"]


class TlsFiles(BaseModel):
    """Where the gateway's certificate is, with those that vouch for it, and its key; both in PEM."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    certificate: Path
    key: Path


class GatewayConfig(BaseModel):
    """The gateway's configuration file, JSON.

    ``endpoints`` is the folder of the endpoint records, ``token_digests`` the file with the digest of the site's own
    token, ``tokens`` that of the tokens that ``ai-how token`` makes, which need not be there. ``ledger`` keeps what
    tokens have spent; without it every worker counts for itself, and forgets.
    Seconds: ``stale_after`` without a heartbeat a replica gets no requests; ``answer_timeout`` is the longest
    silence of an engine that is answering, ``client_timeout`` that of a client that is sending or taking;
    ``drain_timeout`` is how long answers may go on once the gateway is told to end.
    ``body_limit`` is in bytes. ``routes`` is the reconciler's file, ``demand`` its socket; without routes whoever has a
    record is asked. A request waits ``wait_most`` seconds for a replica, with a sign of life on streams every
    ``keep_alive`` seconds; ``queue_most`` requests may wait for a model, half of them one holder's.
    ``usage`` is the database of what was used; without it nothing is written down.
    With ``tls`` nothing else is spoken.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal["1.0"] = "1.0"
    host: str = "127.0.0.1"
    port: int = Field(ge=1, le=65535)
    workers: int = Field(default=1, ge=1, le=64)
    tls: TlsFiles | None = None
    endpoints: Path
    token_digests: Path
    tokens: Path | None = None
    ledger: Path | None = None
    routes: Path | None = None
    demand: Path | None = None
    usage: Path | None = None
    wait_most: float = Field(default=300.0, gt=0)
    keep_alive: float = Field(default=5.0, gt=0)
    queue_most: int = Field(default=4096, ge=1)
    stale_after: float = Field(default=30.0, gt=0)
    answer_timeout: float = Field(default=600.0, gt=0)
    client_timeout: float = Field(default=60.0, gt=0)
    drain_timeout: float = Field(default=10.0, ge=0)
    body_limit: int = Field(default=64 * 1024 * 1024, gt=0)


@dataclass(frozen=True)
class Replica:
    """One replica as the gateway sees it: its record, and the secret that opens it."""

    record: EndpointRecord
    secret: str

    @cached_property
    def url(self) -> str:
        return f"http://{self.record.host}:{self.record.port}"

    @cached_property
    def heads(self) -> dict[tuple[str, str], bytes]:
        """Beginnings of the requests that it is sent, by method and path, filled as they are needed."""
        return {}

    def __repr__(self) -> str:
        # The secret stays out of every log and traceback.
        return f"Replica({self.record.model}, job {self.record.job_id})"


@dataclass(eq=False)
class Refusal(Exception):
    """An answer that is an error, on its way to the client. ``retry_after`` is in seconds; ``allow`` are the methods
    that the path takes, where it does not take the client's."""

    status: int
    message: str
    kind: str
    code: str
    source: FaultSource = "gateway"
    param: str | None = None
    retry_after: int | None = None
    allow: str | None = None

    def body(self, api: Api = "openai") -> bytes:
        """The envelope of the API that the client speaks."""
        if api == "ollama":
            told = OllamaError(error=self.message, code=self.code, source=self.source)
            return told.model_dump_json().encode()
        error = ErrorBody(
            message=self.message, type=self.kind, param=self.param, code=self.code, source=self.source
        )
        return ErrorEnvelope(error=error).model_dump_json().encode()
