"""From Python to a site's gateway: where it is, what opens it, and the tunnel to it where there must be one."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from ai_how.client import AsyncSiteClient, Patience, SiteClient
from ai_how.client.settings import OnWait
from ai_how.errors import UsageError
from ai_how.site.door import TOKEN_VARIABLE, URL_VARIABLE, Door, needed_token

#: What :func:`connect` takes besides the file.
CONNECTING = frozenset(
    {"root", "url", "token", "via", "program", "ssh_config", "ca", "timeout", "patience", "on_wait"}
)


def connect(
    file: str | Path | None = None,
    *,
    root: str | Path | None = None,
    url: str | None = None,
    token: str | None = None,
    via: str | None = None,
    program: str = "ai-how",
    ssh_config: str | Path | None = None,
    ca: str | Path | None = None,
    timeout: float = 600.0,
    patience: Patience | None = None,
    on_wait: OnWait | None = None,
) -> SiteClient:
    """A client of the site that ``file`` describes (default: ``$AI_HOW_FILE`` or ``./cluster.yaml``).

    With ``url`` and ``token`` the gateway is there, and no file is read; ``AI_HOW_URL`` and ``AI_HOW_TOKEN`` in the
    environment say the same, and ``ai-how connect`` sets them. With ``via``, a host that ``ssh`` knows, the gateway is
    on that machine, and a tunnel leads to it: ``url`` is its address there, or else ``file`` is a path there, and
    ``program`` is asked. ``ssh_config`` is another configuration of ssh than the user's own.

    ``timeout`` is the longest silence of an answer, in seconds; ``patience`` how long a model is waited for that wakes,
    of which ``on_wait`` is told; ``ca`` the certificate by which a gateway with TLS is known.

    Raises :class:`NotFound` without such a file, :class:`UsageError` for a site that was never up or without a token,
    :class:`CouldNotTell` when the other machine cannot be reached.
    """
    door = find(file, root=root, url=url, token=token, via=via, program=program, ssh_config=ssh_config, ca=ca)
    return SiteClient(
        door.url, door.token, ca=door.ca, timeout=timeout, patience=door.patience(patience), on_wait=on_wait,
        on_close=door.close,
    )  # fmt: skip


def connect_async(
    file: str | Path | None = None,
    *,
    root: str | Path | None = None,
    url: str | None = None,
    token: str | None = None,
    via: str | None = None,
    program: str = "ai-how",
    ssh_config: str | Path | None = None,
    ca: str | Path | None = None,
    timeout: float = 600.0,
    patience: Patience | None = None,
    on_wait: OnWait | None = None,
) -> AsyncSiteClient:
    """An asynchronous client. What is given, and what is raised, is told by :func:`connect`."""
    door = find(file, root=root, url=url, token=token, via=via, program=program, ssh_config=ssh_config, ca=ca)
    return AsyncSiteClient(
        door.url, door.token, ca=door.ca, timeout=timeout, patience=door.patience(patience), on_wait=on_wait,
        on_close=door.close,
    )  # fmt: skip


def find(
    file: str | Path | None = None,
    *,
    root: str | Path | None = None,
    url: str | None = None,
    token: str | None = None,
    via: str | None = None,
    program: str = "ai-how",
    ssh_config: str | Path | None = None,
    ca: str | Path | None = None,
    notify: Callable[[str], None] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Door:
    """The gateway that these mean, and a tunnel to it where there must be one. Raises like :func:`connect`.

    ``notify`` is told when a tunnel breaks and when it is back.
    """
    known = Path(ca) if ca else None
    if url is None and file is None and via is None and environ.get(URL_VARIABLE):
        url = environ[URL_VARIABLE]
    token = token or environ.get(TOKEN_VARIABLE)
    if via is not None:
        from ai_how.site.tunnel import Far, tunnelled

        config = Path(ssh_config) if ssh_config else None
        far = Far(via, file=file, root=root, url=url, token=token, program=program, config=config)
        return tunnelled(far, known, notify=notify)
    if url is not None:
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"{url!r} is no address", todo="Write it as http://127.0.0.1:8080.")
        return Door(_bare(url), needed_token(token, url), known)
    return _of_site(file, root, environ)


def _of_site(file: str | Path | None, root: str | Path | None, environ: Mapping[str, str]) -> Door:
    from ai_how.services.gateway import token_file
    from ai_how.site.control import open_site

    file = file or environ.get("AI_HOW_FILE")
    root = root or environ.get("AI_HOW_ROOT")
    site = open_site(Path(file) if file else None, Path(root) if root else None)
    # A first `up` that failed may have left a site without its secrets.
    if not (site.exists and token_file(site.layout).exists()):
        raise UsageError(
            f"the site '{site.file.spec.name}' was never up",
            where=str(site.path),
            todo="`ai-how up` brings it up. For one elsewhere give its address (`--url`) or its machine (`--via`).",
        )
    bundle = site.trusting.get("SSL_CERT_FILE")
    return Door(site.gateway_url, site.gateway_token, site.gateway_ca, Path(bundle) if bundle else None)


def _bare(url: str) -> str:
    return url.rstrip("/").removesuffix("/v1")
