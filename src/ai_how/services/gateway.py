"""The gateway: the one authenticated door to the served models."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from ai_how.security import Certificates
from ai_how.services.layout import Layout
from ai_how.services.model import File, HttpProbe, Service, Setting
from ai_how.spec import SiteSpec

NAME = "gateway"
#: The name of the site owner's own token, which no other has.
OWNER = "owner"


def exposed(spec: SiteSpec) -> bool:
    """Whether it listens beyond loopback: then it speaks TLS and nothing else."""
    return NAME in spec.security.expose


def base_url(setting: Setting) -> str:
    """Where the gateway is asked from this machine."""
    scheme = "https" if exposed(setting.spec) else "http"
    return f"{scheme}://127.0.0.1:{setting.ports['gateway']}"


def certificates(layout: Layout, spec: SiteSpec) -> Certificates:
    """Where the site's authority and the gateway's certificate are."""
    return Certificates(layout.tls, spec.name)


def certificate_names(setting: Setting) -> tuple[str, ...]:
    """What the gateway may be called by its clients: this machine's names, and those of the file."""
    own = ("localhost", "127.0.0.1", "::1", setting.host.name)
    return tuple(dict.fromkeys((*own, *setting.spec.security.tls.names)))


def token_file(layout: Layout) -> Path:
    """The site owner's own token."""
    return layout.secrets / "gateway-token"


def define(setting: Setting) -> Service:
    layout, port = setting.layout, setting.ports["gateway"]
    folder = layout.etc / "gateway"
    ours = exposed(setting.spec)
    found = certificates(layout, setting.spec)
    pem = str(found.of(NAME))
    config = {
        "host": "0.0.0.0" if ours else "127.0.0.1",
        "port": port,
        "workers": setting.spec.clusters.cloud.services.gateway.workers,
        **({"tls": {"certificate": pem, "key": pem}} if ours else {}),
        "endpoints": str(layout.endpoints),
        "token_digests": str(folder / "token-digests.json"),
        "tokens": str(layout.tokens),
        "ledger": str(layout.ledger),
        "routes": str(layout.routes),
        "demand": str(layout.demand),
        "usage": str(layout.usage),
    }
    digest = hashlib.sha256(setting.secrets["gateway-token"].encode()).hexdigest()
    digests = {"version": "1.0", "tokens": [{"name": OWNER, "sha256": digest}]}
    return Service(
        name=NAME,
        purpose="the one door to the served models",
        argv=(str(setting.python), "-m", "ai_how.serving.gateway", "--config", str(folder / "gateway.json")),
        folders=(folder,),
        files=(
            File(folder / "gateway.json", json.dumps(config, indent=2) + "\n"),
            File(folder / "token-digests.json", json.dumps(digests, indent=2) + "\n"),
        ),
        probe=HttpProbe(f"{base_url(setting)}/healthz", ca=found.ca if ours else None),
        ports={"gateway": port},
    )
