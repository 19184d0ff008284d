"""An object store by S3: put, get, list, and the parts of multipart uploads, by the load core over signed requests.

Each object's request is signed once and sent again while its signature is fresh: signing is slower than sending, and
would be what is measured.
"""

from __future__ import annotations

import os
import random
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlsplit

import requests
from requests_aws4auth import AWS4Auth

from ai_how.bench.exchange import Exchange
from ai_how.bench.interfaces import Heard, Measured, Place
from ai_how.bench.loaded import Around, loaded
from ai_how.bench.model import Value
from ai_how.bench.targets.driven import seconds_histogram
from ai_how.bench.targets.web import Standing, address_of, wanted_address
from ai_how.bench.work import Address, Work, connections_of
from ai_how.errors import CouldNotTell, NotFound, UsageError
from ai_how.spec.bench import BenchRecipe
from ai_how.spec.bench_workloads import Objects as Asked

#: Seconds for which a signature is used; stores take one for fifteen minutes.
_FRESH = 300.0
#: Objects of a benchmark begin so: nothing else in a bucket is touched.
PREFIX = "ai-how-bench/"
_UPLOAD = re.compile(r"<UploadId>([^<]+)</UploadId>")
#: That a list of parts goes on, and behind which part.
_MORE = re.compile(r"<IsTruncated>\s*true\s*<")
_NEXT = re.compile(r"<NextPartNumberMarker>\s*(\d+)\s*<")


@dataclass(slots=True, eq=False)
class ObjectExchange(Exchange):
    """An answer whose bytes are counted."""

    received: int = 0

    def body(self, data: bytes, now: float) -> None:
        Exchange.body(self, data, now)
        self.received += len(data)


class Store:
    """Signed requests to one bucket: as bytes for the load core, and sent at once for what is around it.

    Raises :class:`NotFound` where the keys are not set.
    """

    def __init__(self, asked: Asked, address: Address, place: Place) -> None:
        self._asked, self.address = asked, address
        self._auth = AWS4Auth(*keys_of(asked, place), asked.region, "s3")
        self._session = requests.Session()
        self._session.trust_env = False  # no proxy stands before what is measured
        if address.trust:
            known_by = place.folder / "authority.pem"  # this library takes a file alone
            known_by.write_text(address.trust)
            self._session.verify = str(known_by)
        self._signed: dict[tuple[str, str], tuple[float, bytes]] = {}

    def path(self, name: str = "") -> str:
        """The path of an object, or of the bucket. Pure."""
        return f"/{quote(self._asked.bucket)}" + (f"/{quote(name)}" if name else "")

    def signed(self, method: str, path: str, data: bytes = b"") -> bytes:
        """The request whole, as bytes, signed within the last minutes; of each path one is kept."""
        made, text = self._signed.get((method, path), (0.0, b""))
        if not text or time.monotonic() - made > _FRESH:
            text = self.sign(method, path, data)
            self._signed[method, path] = time.monotonic(), text
        return text

    def sign(self, method: str, path: str, data: bytes) -> bytes:
        """The request whole, as bytes, signed now."""
        ready = requests.Request(
            method, f"{self.address.url}{path}", data=data or None, headers={"host": str(self.address)}
        ).prepare()
        self._auth(ready)
        head = "".join(f"{name}: {text_of(value)}\r\n" for name, value in ready.headers.items())
        text = f"{method} {ready.path_url} HTTP/1.1\r\n{head}\r\n".encode() + data
        return text

    def send(
        self, method: str, path: str, data: bytes = b"", accept: tuple[int, ...] = ()
    ) -> requests.Response:
        """Send it now. Raises :class:`CouldNotTell` for an answer that is no success and none of ``accept``."""
        try:
            answer = self._session.request(
                method, f"{self.address.url}{path}", data=data or None, auth=self._auth, timeout=60
            )
        except requests.RequestException as error:
            raise CouldNotTell(
                "the object store did not answer", where=str(self.address), cause=str(error)
            ) from error
        if not answer.ok and answer.status_code not in accept:
            raise CouldNotTell(
                f"the object store refused {method} {urlsplit(path).path}: status {answer.status_code}",
                where=str(self.address),
                detail=answer.text[:500] or None,
            )
        return answer


def keys_of(asked: Asked, place: Place) -> tuple[str, str]:
    """The access key and the secret. Raises :class:`NotFound` where they are not set."""
    key = place.settings.get("s3_access_key") or os.environ.get(asked.key_variable)
    secret = place.settings.get("s3_secret_key") or os.environ.get(asked.secret_variable)
    if not key or not secret:
        raise NotFound(
            f"the keys of the object store are not set: ${asked.key_variable} and ${asked.secret_variable}",
            todo="Export both; for the site's own store leave `target.url` out.",
        )
    return key, secret


class Service(Standing):
    """The bucket and, for what reads, its objects: made before, taken away after."""

    def __init__(self, recipe: BenchRecipe, place: Place) -> None:
        super().__init__(place)
        self._asked = recipe.workload.objects or Asked()
        self._store = Store(self._asked, wanted_address(place), place)
        swept = recipe.sweep.get("workload.objects.objects", ())
        self._most = max([self._asked.objects, *(one for one in swept if isinstance(one, int))])
        self._made = False

    def start(self) -> Mapping[str, Any]:
        facts = dict(super().start())
        asked, store = self._asked, self._store
        there = store.send("HEAD", store.path(), accept=(404,)).status_code == 200
        if not there:
            store.send("PUT", store.path(), accept=(409,))
            self._made = True
        if asked.operation in ("get", "list"):
            for index in range(asked.objects):
                store.send("PUT", store.path(name_of(index)), body_of(asked))
            if store.send("GET", store.path(name_of(0))).content != body_of(asked):
                raise CouldNotTell("the object store gives back what was not put", where=str(store.address))
        return facts | {"bucket": asked.bucket, "bytes": asked.bytes, "objects": asked.objects}

    def stop(self) -> None:
        with suppress(CouldNotTell):
            for index in range(self._most):
                self._store.send("DELETE", self._store.path(name_of(index)), accept=(404,))
            if self._made:
                self._store.send("DELETE", self._store.path(), accept=(404, 409))


class ObjectStore:
    """An object store that speaks S3."""

    api = "s3"

    def service(self, recipe: BenchRecipe, place: Place) -> Service:
        return Service(recipe, at_the_store(recipe, place))

    def client(self, recipe: BenchRecipe, place: Place) -> ObjectClient:
        return ObjectClient(recipe, at_the_store(recipe, place))

    def work(self, recipe: BenchRecipe, place: Place) -> Work:
        asked = recipe.workload.objects or Asked()
        store = Store(asked, wanted_address(place), place)
        return work_of(recipe, store, asked, [])


def at_the_store(recipe: BenchRecipe, place: Place) -> Place:
    """The place with the store's address: the recipe's, or that of the site's own store. Pure."""
    own = place.settings.get("s3_url")
    if recipe.target.url is None and own:
        return replace(place, address=address_of(own))
    if recipe.target.url is None:
        return place
    # The site's keys are for the site's store, and are shown to no other.
    others = {name: value for name, value in place.settings.items() if not name.startswith("s3_")}
    return replace(place, address=address_of(recipe.target.url, recipe.target.certificate), settings=others)


def work_of(recipe: BenchRecipe, store: Store, asked: Asked, uploads: list[str]) -> Work:
    """What is asked, request by request; ``uploads`` are the ids of those under way, for parts."""
    body = body_of(asked)

    def ask(index: int) -> bytes:
        at = index % asked.objects
        path = store.path(name_of(at))
        if asked.operation == "put":
            return store.signed("PUT", path, body)
        if asked.operation == "get":
            return store.signed("GET", path)
        if asked.operation == "list":
            return store.signed(
                "GET", f"{store.path()}?list-type=2&max-keys=1000&prefix={quote(PREFIX, safe='')}"
            )
        number = part_of(index, asked)
        upload = quote(uploads[at], safe="") if uploads else "none"
        return store.sign("PUT", f"{path}?partNumber={number}&uploadId={upload}", body)

    connections = connections_of(recipe)
    return Work(store.address, ask, ObjectExchange, connections, recipe.timeout, connections)


def text_of(value: str | bytes) -> str:
    """A header's value, which the signer leaves as it finds it. Pure."""
    return value if isinstance(value, str) else value.decode()


def part_of(index: int, asked: Asked) -> int:
    """The number of a part within its upload, from 1; a run has fewer than ten thousand in each. Pure."""
    return index % 1_000_000_000 // asked.objects % 10_000 + 1


class ObjectClient(Around):
    """The load core, with the bytes that it moved; parts go into uploads that are begun before and completed after."""

    def __init__(self, recipe: BenchRecipe, place: Place) -> None:
        self._asked = asked = recipe.workload.objects or Asked()
        self._uploads: list[str] = []
        self._begun: set[tuple[int, str]] = set()
        self._store = store = Store(asked, wanted_address(place), place)
        if asked.operation == "part" and (recipe.load.generators > 1 or recipe.load.nodes):
            raise UsageError(
                "parts are put by one process", todo="Leave `load.processes` and `load.nodes` out."
            )

        def work(recipe: BenchRecipe, place: Place) -> Work:
            to = store if place.address == store.address else Store(asked, wanted_address(place), place)
            return work_of(recipe, to, asked, self._uploads)

        super().__init__(loaded(recipe, place, work))

    def run(self, number: int, heard: Heard | None = None) -> Measured:
        asked = self._asked
        if asked.operation in ("get", "list"):
            self._fill()
        try:
            begun = self._begin() if asked.operation == "part" else []
            found = self._inner.run(number, heard)
            ended = self._complete() if asked.operation == "part" else []
        finally:
            self._give_up()
        for one in found.exchanges:
            if (
                asked.operation == "get"
                and isinstance(one, ObjectExchange)
                and one.good
                and one.received != asked.bytes
            ):
                one.error = "not the object"
        extra: dict[str, Any] = {}
        if asked.operation == "part":
            extra["histograms"] = {"initiate": seconds_histogram(begun), "complete": seconds_histogram(ended)}
        moved = asked.bytes * sum(one.good for one in found.exchanges)
        if asked.operation != "list":
            extra["values"] = {"bandwidth": Value(value=moved / 2**20 / found.seconds, unit="MiB/s")}
        return replace(found, cache="warm" if asked.operation == "get" else None, **extra)

    def _fill(self) -> None:
        """Put the objects of this point where those of another one lie, or none."""
        paths = [self._store.path(name_of(index)) for index in range(self._asked.objects)]
        heads = [self._store.send("HEAD", path, accept=(404,)) for path in {paths[0], paths[-1]}]
        if any(not one.ok or int(one.headers["content-length"]) != self._asked.bytes for one in heads):
            for path in paths:
                self._store.send("PUT", path, body_of(self._asked))

    def _begin(self) -> list[float]:
        """Begin every upload; the seconds of each."""
        times = []
        self._uploads.clear()
        for index in range(self._asked.objects):
            before = time.monotonic()
            answer = self._store.send("POST", f"{self._store.path(name_of(index))}?uploads=")
            times.append(time.monotonic() - before)
            match = _UPLOAD.search(answer.text)
            if match is None:
                raise CouldNotTell("the object store began no upload", detail=answer.text[:500])
            self._uploads.append(match[1])
            self._begun.add((index, match[1]))
        return times

    def _complete(self) -> list[float]:
        """Complete every upload with the parts that the store has of it; seconds of each. One without is given up."""
        times = []
        for index, upload in enumerate(self._uploads):
            path = self._of(index, upload)
            body = completion("".join(self._listed(path)))
            if not body:
                continue
            before = time.monotonic()
            answer = self._store.send("POST", path, body.encode())
            times.append(time.monotonic() - before)
            if "<Error>" in answer.text:  # S3 says so behind a status of success, as it may take long
                raise CouldNotTell("the object store completed no upload", detail=answer.text[:500])
            self._begun.discard((index, upload))
        return times

    def _of(self, index: int, upload: str) -> str:
        return f"{self._store.path(name_of(index))}?uploadId={quote(upload, safe='')}"

    def _listed(self, path: str) -> Iterator[str]:
        """The store's list of an upload's parts, which comes in pages of a thousand."""
        after = ""
        while True:
            text = self._store.send("GET", f"{path}{after}").text
            yield text
            following = _NEXT.search(text)
            if _MORE.search(text) is None or following is None:
                return
            after = f"&part-number-marker={following[1]}"

    def _give_up(self) -> None:
        """Give up what was begun and not completed: its parts would lie in the store, where no list shows them."""
        for index, upload in sorted(self._begun):
            with suppress(CouldNotTell):
                self._store.send("DELETE", self._of(index, upload), accept=(404,))
        self._begun.clear()


def completion(listed: str) -> str:
    """The body that completes an upload, by the store's own list of its parts; empty without any. Pure."""
    parts = re.findall(r"<Part>(.*?)</Part>", listed, re.DOTALL)
    lines = []
    for part in parts:
        number, tag = re.search(r"<PartNumber>(\d+)<", part), re.search(r"<ETag>(.*?)</ETag>", part)
        if number and tag:
            lines.append(f"<Part><PartNumber>{number[1]}</PartNumber><ETag>{tag[1]}</ETag></Part>")
    return f"<CompleteMultipartUpload>{''.join(lines)}</CompleteMultipartUpload>" if lines else ""


def name_of(index: int) -> str:
    """The name of object ``index``. Pure."""
    return f"{PREFIX}object{index:06d}"


def body_of(asked: Asked) -> bytes:
    """Bytes that no store makes smaller, the same each time. Pure."""
    return random.Random(1).randbytes(asked.bytes)


TARGET = ObjectStore()
