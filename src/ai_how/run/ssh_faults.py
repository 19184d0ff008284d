"""What ssh says when it fails, as errors that tell the cause and what to do. Pure."""

from __future__ import annotations

from ai_how.errors import CouldNotTell

#: Words of ssh's; what they mean; what to do. The first that is found counts. ``{host}`` is filled in.
_FAULTS = (
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        "its host key is another one than the one that is known: somebody may be in between",
        "Ask the centre whether the key changed and compare the fingerprint; only then `ssh-keygen -R {host}`.",
    ),
    (
        "Host key verification failed",
        "its host key is not known yet, and an unknown one is never accepted",
        "Connect once by hand (`ssh {host}`) and compare the fingerprint with the one that the centre publishes.",
    ),
    (
        "Too many authentication failures",
        "the agent offered too many keys before the right one",
        "Name the key in the site's file: clusters.hpc.existing.identity_file.",
    ),
    (
        "Permission denied",
        "it accepts neither the key nor anything else that could be offered without asking",
        "Try `ssh {host}`. Where a passphrase or a second factor is asked for, run `ai-how up` at a terminal first.",
    ),
    (
        "Could not resolve hostname",
        "its name stands for no address",
        "Look at the host's name (`--via`, or clusters.hpc.existing.host in the site's file), and at your network.",
    ),
    (
        "Connection refused",
        "nothing listens there",
        "Look at the host's name and port, and try `ssh {host}`.",
    ),
    (
        "timed out",
        "it does not answer: it is down, or the way there is barred",
        "Look at your network (a VPN may be needed), and try `ssh {host}`.",
    ),
    ("No route to host", "there is no way there", "Look at your network (a VPN may be needed)."),
    ("Network is unreachable", "there is no way there", "Look at your network (a VPN may be needed)."),
    (
        "Connection closed",
        "it closed the connection",
        "Try `ssh {host}`; a centre bars an address for a while after several failed attempts.",
    ),
)
_UNKNOWN = ("the connection broke", "Try again; `ssh {host}` shows more.")


def fault(host: str, said: str, *, command: str | None = None) -> CouldNotTell:
    """Why there is no answer. ``command`` was on its way: it may have been carried out, or not."""
    known = ((cause, todo) for words, cause, todo in _FAULTS if words.lower() in said.lower())
    cause, todo = next(known, _UNKNOWN)
    shown = "\n".join(line.strip() for line in said.splitlines() if line.strip() and not _noise(line))
    return CouldNotTell(
        f"{host} cannot be reached",
        where=f"{host}: {command}" if command else host,
        cause=cause,
        detail=shown or None,
        todo=todo.format(host=host),
    )


def denied(error: CouldNotTell) -> bool:
    """Whether somebody there said no, which will not be otherwise in a moment."""
    said = error.detail or ""
    return any(
        words in said for words in ("Permission denied", "Too many authentication", "verification failed")
    )


def _noise(line: str) -> bool:
    """Frames of signs around a warning."""
    return not line.strip().strip("@")
