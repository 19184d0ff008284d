"""A certificate authority of the site, and the certificates it signs. Everything is in one folder, for its owner alone.

``authority.pem`` holds the authority's key and certificate, ``ca.pem`` the certificate alone, to be given to clients;
``bundle.pem`` that and the system's own, for programs that can be told one file. A server's file holds its key, its
certificate and the authority's, and is replaced whole, so that a key never stands beside another's certificate.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from ai_how.errors import AiHowError
from ai_how.run import write_whole
from ai_how.security.private import read_private, write_private

if TYPE_CHECKING:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate

_AUTHORITY_DAYS = 3650
_DAY = 86400.0
# A clock that is a little behind must not find a certificate of the future.
_SKEW = timedelta(hours=1)


@dataclass(frozen=True)
class Certificates:
    """The folder. ``site`` is the name that the authority bears."""

    folder: Path
    site: str

    @property
    def authority(self) -> Path:
        """The authority's key and certificate."""
        return self.folder / "authority.pem"

    @property
    def ca(self) -> Path:
        """The authority's certificate, which clients trust."""
        return self.folder / "ca.pem"

    @property
    def bundle(self) -> Path:
        """The authority's certificate after the system's own."""
        return self.folder / "bundle.pem"

    def of(self, server: str) -> Path:
        """Key and certificates of a server."""
        return self.folder / f"{server}.pem"

    def due(self, server: str, names: Sequence[str], days: int, now: float) -> str | None:
        """Why a server needs another certificate; None when the one it has will do. ``now`` in epoch seconds.

        Renewed when a third of its days is left: whoever brings the site up now and then is never late.
        """
        if not self.of(server).exists() or not self.ca.exists():
            return "it is not there yet"
        if not self.authority.exists():
            return "the authority is not there any more"
        authority, found = _read(self.authority)[1], _read(self.of(server))[1]
        if found.issuer != authority.subject or not _signed(found, authority):
            return "another authority has signed it"
        if set(_names(found)) != set(names):
            return "it is to have other names"
        left = found.not_valid_after_utc.timestamp() - now
        if left < days * _DAY / 3:
            return f"it ends on {found.not_valid_after_utc:%Y-%m-%d}"
        if left > days * _DAY + 1:
            return f"it is to last {days} days"
        if authority.not_valid_after_utc.timestamp() - now < days * _DAY:
            return f"the authority ends on {authority.not_valid_after_utc:%Y-%m-%d}"
        if authority.not_valid_before_utc.timestamp() > now:
            return f"the authority begins on {authority.not_valid_before_utc:%Y-%m-%d}: the clock was ahead"
        return None

    def renew(self, server: str, names: Sequence[str], days: int, now: float) -> None:
        """Make a certificate for a server; and the authority, when there is none or it ends too soon.

        Raises :class:`AiHowError` for files that cannot be used, :class:`OSError` when the disk refuses.
        """
        at = datetime.fromtimestamp(now, UTC)
        if not self.authority.exists() or _will_not_do(_read(self.authority)[1], at, days):
            write_private(self.authority, _authority(self.site, at, max(_AUTHORITY_DAYS, 2 * days)))
        key, authority = _read(self.authority)
        public = _pem(authority)
        write_whole(self.ca, public, mode=0o644)
        write_whole(self.bundle, _systems() + public, mode=0o644)
        write_private(self.of(server), _server(server, names, at, days, key, authority) + public)


def _will_not_do(certificate: Certificate, at: datetime, days: int) -> bool:
    """Whether it ends before ``days`` are over, or was made while the clock was ahead and does not hold yet."""
    return (
        certificate.not_valid_after_utc < at + timedelta(days=days) or certificate.not_valid_before_utc > at
    )


def _read(path: Path) -> tuple[EllipticCurvePrivateKey, Certificate]:
    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    text = read_private(path).encode()
    try:
        key = load_pem_private_key(text, None)
        certificate = x509.load_pem_x509_certificates(text)[0]
    except ValueError as error:
        key = None
        fault: Exception | None = error
    else:
        fault = None
    if fault is not None or not isinstance(key, EllipticCurvePrivateKey):
        raise AiHowError(
            f"{path.name} holds no key and certificate that can be used",
            where=str(path),
            todo="Remove it: `ai-how up` makes it anew. Clients must then be given the new ca.pem.",
        ) from fault
    return key, certificate


def _signed(certificate: Certificate, authority: Certificate) -> bool:
    from cryptography.exceptions import InvalidSignature

    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _names(certificate: Certificate) -> list[str]:
    from cryptography import x509

    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return [str(one.value) for one in found]


def _general(names: Iterable[str]) -> list[x509.GeneralName]:
    from cryptography import x509

    made: list[x509.GeneralName] = []
    for name in names:
        try:
            made.append(x509.IPAddress(ipaddress.ip_address(name)))
        except ValueError:
            made.append(x509.DNSName(name))
    return made


def _authority(site: str, at: datetime, days: int) -> str:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    # A number in the name: who trusted an earlier authority of this site must not take this one for it.
    subject = _named(f"AI-HOW site {site}"[:50] + f" {x509.random_serial_number() & 0xFFFFFF:06x}")
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - _SKEW)
        .not_valid_after(at + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return _key_pem(key) + _pem(certificate)


def _server(
    server: str,
    names: Sequence[str],
    at: datetime,
    days: int,
    signer: EllipticCurvePrivateKey,
    authority: Certificate,
) -> str:
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key())
    certificate = (
        x509.CertificateBuilder()
        .subject_name(_named(server))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(at - _SKEW)
        .not_valid_after(at + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(_general(names)), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(issuer, critical=False)
        .sign(signer, hashes.SHA256())
    )
    return _key_pem(key) + _pem(certificate)


def _named(name: str) -> x509.Name:
    from cryptography import x509

    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])


def _usage(*, signs: bool) -> x509.KeyUsage:
    from cryptography import x509

    return x509.KeyUsage(
        digital_signature=not signs,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: Certificate) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return certificate.public_bytes(Encoding.PEM).decode()


def _key_pem(key: EllipticCurvePrivateKey) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def _systems() -> str:
    """The certificates that this machine trusts, where they are in one file."""
    path = ssl.get_default_verify_paths().cafile
    try:
        return Path(path).read_text(encoding="utf-8") + "\n" if path else ""
    except (OSError, UnicodeDecodeError):
        return ""
