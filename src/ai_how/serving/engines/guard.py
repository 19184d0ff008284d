"""An engine behind the guard: `replica_guard.py` runs in its place. Pure."""

from __future__ import annotations

from pathlib import Path

from ai_how.serving.engines.model import LoadPage
from ai_how.serving.engines.place import PID_FILE, Place

_ROOM = Path(__file__).parent.parent
#: What the guard needs on the node.
GUARD_FILES = (_ROOM / "replica_guard.py", _ROOM / "replica_door.py")
#: The variable in which the guard finds the secret, and the signal that ends it.
GUARD_SECRET = "AI_HOW_REPLICA_SECRET"
GUARD_LOAD = LoadPage("/.ai-how/metrics", running="ai_how_guard_running")


def guarded(argv: tuple[str, ...], place: Place, *, engine_secret: str | None = None) -> tuple[str, ...]:
    """The command that runs an engine behind the guard.

    ``{engine_host}`` and ``{engine_port}``, in ``argv`` and in the environment, are where it must listen. With
    ``engine_secret`` the engine gets the secret, too, in that variable, and is shown it with each request. An image's
    programs cannot be put into a network of their own here: they listen on loopback.
    """
    how = [] if place.kind == "folder" else ["--image"]
    if place.kind == "podman":
        how += ["--by-owner", "--container", PID_FILE]
    if engine_secret:
        how += ["--engine-secret", engine_secret]
    return (
        "{python}", "-I", f"{{folder}}/{GUARD_FILES[0].name}", "--address-file", "{address_file}",
        "--listen", "{listen}", *how, "--", *argv,
    )  # fmt: skip
