"""The gateway: the one authenticated door to the served models."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from ai_how.services.layout import Layout
from ai_how.services.model import File, HttpProbe, Service, Setting

#: The name of the site owner's own token, which no other has.
OWNER = "owner"


def base_url(setting: Setting) -> str:
    """Where the gateway listens."""
    return f"http://127.0.0.1:{setting.ports['gateway']}"


def token_file(layout: Layout) -> Path:
    """The site owner's own token."""
    return layout.secrets / "gateway-token"


def define(setting: Setting) -> Service:
    layout, port = setting.layout, setting.ports["gateway"]
    folder = layout.etc / "gateway"
    config = {
        "host": "127.0.0.1",
        "port": port,
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
        name="gateway",
        purpose="the one door to the served models",
        argv=(str(setting.python), "-m", "ai_how.serving.gateway", "--config", str(folder / "gateway.json")),
        folders=(folder,),
        files=(
            File(folder / "gateway.json", json.dumps(config, indent=2) + "\n"),
            File(folder / "token-digests.json", json.dumps(digests, indent=2) + "\n"),
        ),
        probe=HttpProbe(f"{base_url(setting)}/healthz"),
        ports={"gateway": port},
    )
