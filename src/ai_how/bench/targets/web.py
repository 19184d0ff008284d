"""What targets behind an address share: HTTP requests as bytes, and a service that is there already."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ai_how.bench.interfaces import Place, Service
from ai_how.bench.work import Address
from ai_how.errors import CouldNotTell, UsageError
from ai_how.run.files import read_whole
from ai_how.spec.bench import BenchRecipe
from ai_how.spec.bench_target import Deploy

#: Seconds for the first word with the target.
_KNOCK = 5.0


def address_of(url: str, certificate: Path | str | None = None) -> Address:
    """What ``http://HOST:PORT`` or ``https://HOST:PORT`` means; the latter known by a file of certificates, or by the
    system's own.

    Raises :class:`NotFound` for a file that is not there, :class:`UsageError` for one that holds no certificate.
    """
    parts = urlsplit(url)
    host = parts.hostname or "127.0.0.1"
    if parts.scheme != "https":
        return Address(host, parts.port or 80)
    address = Address(host, parts.port or 443, read_whole(Path(certificate)) if certificate else "")
    try:
        _ = address.context
    except ssl.SSLError as error:
        raise UsageError("the file holds no certificate", where=str(certificate), cause=str(error)) from error
    return address


def wanted_address(place: Place) -> Address:
    """The target's address. Raises :class:`UsageError` when nobody told one."""
    if place.address is None:
        raise UsageError("the target has no address", todo="Write `target.url` into the recipe.")
    return place.address


def http_request(
    method: str, path: str, address: Address, body: bytes, token: str | None, kind: str
) -> bytes:
    """One request, whole."""
    lines = [f"{method} {path} HTTP/1.1", f"host: {address}", "user-agent: ai-how", "accept: */*"]
    if token:
        lines.append(f"authorization: Bearer {token}")
    if body or method != "GET":
        lines += [f"content-type: {kind}", f"content-length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def knocked(address: Address) -> None:
    """Connect once, with TLS where the address has it. Raises :class:`OSError`."""
    with socket.create_connection(address[:2], timeout=_KNOCK) as plain:
        if (context := address.context) is not None:
            context.wrap_socket(plain, server_hostname=address.host).close()


class Standing:
    """A service that is there already, at an address."""

    def __init__(self, place: Place) -> None:
        self._address = wanted_address(place)

    def start(self) -> Mapping[str, Any]:
        """See that it takes a connection. Raises :class:`CouldNotTell` when it does not."""
        try:
            knocked(self._address)
        except ssl.SSLError as error:
            raise CouldNotTell(
                "the target cannot be trusted",
                where=self._address.url,
                cause=str(error),
                todo="`target.certificate` names the file with the certificate that it is known by.",
            ) from error
        except OSError as error:
            raise CouldNotTell(
                "the target takes no connection",
                where=str(self._address),
                cause=str(error) or type(error).__name__,
                todo="`ai-how status` and `ai-how ps` show what of the site runs.",
            ) from error
        return {"address": str(self._address)}

    def stop(self) -> None:
        """It was there before, and stays."""


class Deployed(Standing):
    """A served model that is there for this benchmark alone, behind the site's gateway."""

    def __init__(self, place: Place, name: str, asked: Deploy) -> None:
        super().__init__(place)
        if place.deployer is None:
            raise UsageError(
                "the recipe deploys its service, and there is no site here that could serve it",
                todo="Bring a site up (`ai-how up`), or leave `target.deploy` out and measure what is there.",
            )
        self._deployer, self._name, self._asked = place.deployer, name, asked

    def start(self) -> Mapping[str, Any]:
        """Raises :class:`AiHowError` when it cannot be served: nothing of it stays then."""
        deployed = self._deployer.up(self._name, self._asked)
        return {**super().start(), "deployed": dict(deployed)}

    def stop(self) -> None:
        """Whatever happened since, it goes as it came."""
        self._deployer.down(self._name)


def model_service(recipe: BenchRecipe, place: Place) -> Service:
    """The served model: deployed where the recipe says so, otherwise there already."""
    target = recipe.target
    return Deployed(place, target.model or "", target.deploy) if target.deploy else Standing(place)
