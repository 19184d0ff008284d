"""The certificate of the gateway, where it listens beyond loopback."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ai_how.services import Setting, gateway


def due(setting: Setting, now: float) -> tuple[str | None, str] | None:
    """Why the gateway needs a certificate, or None, and then what is good; None where it speaks no TLS."""
    if not gateway.exposed(setting.spec):
        return None
    found, names = gateway.certificates(setting.layout, setting.spec), gateway.certificate_names(setting)
    why = found.due(gateway.NAME, names, setting.spec.security.tls.certificate_days, now)
    return why, "its certificate has these names, and days enough"


def renew(setting: Setting, now: float) -> None:
    """Make the certificate; the gateway takes it up by itself. Raises :class:`AiHowError` for what cannot be read."""
    found, names = gateway.certificates(setting.layout, setting.spec), gateway.certificate_names(setting)
    found.renew(gateway.NAME, names, setting.spec.security.tls.certificate_days, now)


def authority(setting: Setting) -> Path | None:
    """The certificate that clients know the gateway by; None where it speaks no TLS."""
    return gateway.certificates(setting.layout, setting.spec).ca if gateway.exposed(setting.spec) else None


def environment(setting: Setting) -> Mapping[str, str]:
    """What makes programs trust the gateway's certificate beside those that they trust anyway."""
    if not gateway.exposed(setting.spec):
        return {}
    bundle = str(gateway.certificates(setting.layout, setting.spec).bundle)
    # OpenSSL's own name, and those that curl and requests ask for first.
    return dict.fromkeys(("SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"), bundle)
