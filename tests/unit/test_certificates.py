"""The site's authority and the gateway's certificate: when another one is due, and that clients know it by it."""

from __future__ import annotations

import asyncio
import os
import ssl
import stat
import time
from pathlib import Path

import httpx
import pytest
from gateway_door import opened
from test_gateway_app import FixedClock

from ai_how.errors import AiHowError
from ai_how.security import Certificates, create_token
from ai_how.serving.gateway.app import create_app
from ai_how.serving.gateway.listening import Tls
from ai_how.serving.gateway.model import GatewayConfig, TlsFiles

NAMES = ("localhost", "127.0.0.1", "::1", "box.example.org")
NOW = time.time()
DAY = 86400.0


@pytest.fixture
def site(tmp_path: Path) -> Certificates:
    made = Certificates(tmp_path / "tls", "ada")
    assert made.due("gateway", NAMES, 90, NOW) == "it is not there yet"
    made.renew("gateway", NAMES, 90, NOW)
    return made


def test_a_new_certificate_will_do_until_a_third_is_left(site: Certificates) -> None:
    assert site.due("gateway", NAMES, 90, NOW) is None
    assert site.due("gateway", NAMES, 90, NOW + 59 * DAY) is None
    assert (site.due("gateway", NAMES, 90, NOW + 61 * DAY) or "").startswith("it ends on 20")


def test_other_names_or_days_need_another(site: Certificates) -> None:
    assert site.due("gateway", NAMES[:-1], 90, NOW) == "it is to have other names"
    assert site.due("gateway", (*NAMES, "10.0.0.7"), 90, NOW) == "it is to have other names"
    assert site.due("gateway", NAMES[::-1], 90, NOW) is None
    assert site.due("gateway", NAMES, 30, NOW) == "it is to last 30 days"
    assert (site.due("gateway", NAMES, 365, NOW) or "").startswith("it ends on")


def test_a_renewal_keeps_the_authority_as_long_as_it_lasts(site: Certificates) -> None:
    before = site.ca.read_text()
    site.renew("gateway", NAMES, 90, NOW + 61 * DAY)
    assert site.ca.read_text() == before and site.due("gateway", NAMES, 90, NOW + 61 * DAY) is None
    late = NOW + 3600 * DAY
    assert (site.due("gateway", NAMES, 90, late) or "").startswith("it ends on")
    site.renew("gateway", NAMES, 90, late)
    assert site.ca.read_text() != before and site.due("gateway", NAMES, 90, late) is None


def test_a_certificate_of_another_authority_is_not_kept(site: Certificates, tmp_path: Path) -> None:
    other = Certificates(tmp_path / "other", "ada")
    other.renew("gateway", NAMES, 90, NOW)
    os.replace(other.of("gateway"), site.of("gateway"))
    assert site.due("gateway", NAMES, 90, NOW) == "another authority has signed it"


def test_keys_are_their_owners_alone(site: Certificates) -> None:
    for path in (site.authority, site.of("gateway")):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600 and "PRIVATE KEY" in path.read_text()
    assert stat.S_IMODE(site.folder.stat().st_mode) == 0o700
    assert "PRIVATE" not in site.ca.read_text() + site.bundle.read_text()
    site.authority.chmod(0o644)
    with pytest.raises(AiHowError, match="open to other accounts"):
        site.due("gateway", NAMES, 90, NOW)


def test_files_that_cannot_be_used_are_named(site: Certificates) -> None:
    site.of("gateway").write_text("nothing")
    with pytest.raises(AiHowError, match=r"gateway\.pem holds no key"):
        site.due("gateway", NAMES, 90, NOW)
    with pytest.raises(AiHowError, match="certificate cannot be used"):
        Tls(TlsFiles(certificate=site.of("gateway"), key=site.of("gateway")))


async def certificate_of(port: int, ca: Path, name: str = "box.example.org") -> str:
    """The serial number of the certificate that is shown, if it is good."""
    context = ssl.create_default_context(cafile=ca)
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=name)
    shown = writer.get_extra_info("peercert")["serialNumber"]
    writer.close()
    return str(shown)


def test_the_gateway_is_known_by_the_sites_authority_and_takes_up_a_renewal(
    site: Certificates, tmp_path: Path
) -> None:
    token = create_token(tmp_path / "tokens.json", "admin")
    config = GatewayConfig(port=1, endpoints=tmp_path / "none", token_digests=tmp_path / "tokens.json")
    tls = Tls(TlsFiles(certificate=site.of("gateway"), key=site.of("gateway")))
    app = create_app(config, clock=FixedClock())
    stranger = Certificates(tmp_path / "stranger", "ada")
    stranger.renew("gateway", NAMES, 90, NOW)

    async def scene() -> None:
        async with opened(app, tls=tls) as client:
            port = client.base_url.port or 0
            first = await certificate_of(port, site.ca)
            for ca, name in ((stranger.ca, "localhost"), (site.ca, "evil.example.org")):
                with pytest.raises(ssl.SSLCertVerificationError):
                    await certificate_of(port, ca, name)
            known = ssl.create_default_context(cafile=site.ca)
            async with httpx.AsyncClient(verify=known, trust_env=False) as trusting:
                headers = {"authorization": f"Bearer {token}"}
                answer = await trusting.get(f"https://localhost:{port}/v1/models", headers=headers)
                assert answer.json()["data"] == []
                with pytest.raises(httpx.TransportError):
                    await trusting.get(f"http://127.0.0.1:{port}/v1/models", headers=headers)
            tls.renew()
            assert await certificate_of(port, site.ca) == first
            site.renew("gateway", NAMES, 90, NOW)
            tls.renew()
            assert await certificate_of(port, site.ca) != first
            site.of("gateway").write_text("nothing")
            tls.renew()
            await certificate_of(port, site.ca)

    asyncio.run(scene())


def test_an_authority_that_was_removed_is_made_anew(site: Certificates) -> None:
    site.authority.unlink()
    assert site.due("gateway", NAMES, 90, NOW) == "the authority is not there any more"
    site.renew("gateway", NAMES, 90, NOW)
    assert site.due("gateway", NAMES, 90, NOW) is None


def test_what_was_made_while_the_clock_was_ahead_is_made_anew(tmp_path: Path) -> None:
    made = Certificates(tmp_path / "tls", "ada")
    made.renew("gateway", NAMES, 90, NOW + 400 * DAY)
    assert made.due("gateway", NAMES, 90, NOW) is not None
    early = made.ca.read_text()
    made.renew("gateway", NAMES, 90, NOW)
    assert made.due("gateway", NAMES, 90, NOW) is None
    assert made.ca.read_text() != early


def test_an_authority_outlives_certificates_of_many_years(tmp_path: Path) -> None:
    made = Certificates(tmp_path / "tls", "ada")
    made.renew("gateway", NAMES, 36_500, NOW)
    assert made.due("gateway", NAMES, 36_500, NOW + DAY) is None
