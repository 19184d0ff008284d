"""Multipart uploads: whole however many parts they have, and none left that was begun."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ai_how.bench.interfaces import Measured, Place
from ai_how.bench.targets import s3
from ai_how.bench.work import Address
from ai_how.errors import CouldNotTell
from ai_how.run import LocalGate
from ai_how.spec.bench import parse_bench

RECIPE = parse_bench(
    'version: "1.0"\nkind: bench\nname: parts\ntarget: {api: s3}\nload: {arrivals: closed}\n'
    "workload: {objects: {operation: part, objects: 2, bytes: 5242880}}\n",
    "parts",
)


def part(number: int) -> str:
    return f"<Part><PartNumber>{number}</PartNumber><ETag>e{number}</ETag></Part>"


class Uploads:
    """A store that lists two parts a page."""

    def __init__(self, complete: str = "<CompleteMultipartUploadResult/>") -> None:
        self.asked: list[tuple[str, str]] = []
        self.bodies: list[str] = []
        self._complete = complete

    def path(self, name: str = "") -> str:
        return f"/b/{name}"

    def send(self, method: str, path: str, data: bytes = b"", accept: tuple[int, ...] = ()) -> Any:
        self.asked.append((method, path))
        if path.endswith("?uploads="):
            return SimpleNamespace(text=f"<UploadId>u{len(self.asked)}</UploadId>")
        if method == "GET" and "marker" not in path:
            more = "<IsTruncated>true</IsTruncated><NextPartNumberMarker>2</NextPartNumberMarker>"
            return SimpleNamespace(text=part(1) + part(2) + more)
        if method == "GET":
            return SimpleNamespace(text=f"{part(3)}<IsTruncated>false</IsTruncated>")
        self.bodies.append(data.decode())
        return SimpleNamespace(text=self._complete)

    @property
    def given_up(self) -> int:
        return sum(method == "DELETE" for method, _ in self.asked)


class Inner:
    def __init__(self, error: Exception | None = None) -> None:
        self._error = error

    def run(self, number: int, heard: object = None) -> Measured:
        if self._error is not None:
            raise self._error
        return Measured(seconds=1.0)


def client(store: Uploads, tmp_path: Path, error: Exception | None = None) -> Any:
    settings = {"s3_access_key": "a", "s3_secret_key": "b"}
    made: Any = s3.ObjectClient(
        RECIPE, Place(LocalGate(), tmp_path, Address("127.0.0.1", 1), settings=settings)
    )
    made._store, made._inner = store, Inner(error)
    return made


def test_an_upload_is_completed_with_all_of_its_parts(tmp_path: Path) -> None:
    """A store lists a thousand of them at once."""
    store = Uploads()
    client(store, tmp_path).run(1)
    assert len(store.bodies) == 2 and all(body.count("<Part>") == 3 for body in store.bodies)
    assert store.given_up == 0


def test_what_was_begun_and_cannot_be_completed_is_given_up(tmp_path: Path) -> None:
    store = Uploads()
    with pytest.raises(OSError, match="refused"):
        client(store, tmp_path, OSError("refused")).run(1)
    assert store.given_up == 2


def test_an_error_behind_a_status_of_success_completes_nothing(tmp_path: Path) -> None:
    store = Uploads("<Error><Code>InternalError</Code></Error>")
    with pytest.raises(CouldNotTell) as caught:
        client(store, tmp_path).run(1)
    assert "InternalError" in (caught.value.detail or "") and store.given_up == 2
