"""Which distribution this is, and how one installs packages on it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from ai_how.host.model import Distribution

_INSTALL = {
    "debian": "apt-get install --no-install-recommends",
    "fedora": "dnf install",
    "suse": "zypper install",
    "arch": "pacman -S",
}


def parse_os_release(text: str) -> Distribution:
    """The distribution that a text in the format of os-release(5) describes; unknown keys are passed over."""
    facts: dict[str, str] = {}
    for line in text.splitlines():
        key, equals, value = line.strip().partition("=")
        if equals and not key.startswith("#"):
            try:
                facts[key] = " ".join(shlex.split(value))
            except ValueError:
                facts[key] = value
    return Distribution(
        id=facts.get("ID", "linux").lower(),
        version=facts.get("VERSION_ID", ""),
        name=facts.get("PRETTY_NAME") or facts.get("NAME") or "Linux",
        codename=facts.get("VERSION_CODENAME", ""),
        like=tuple(facts.get("ID_LIKE", "").lower().split()),
    )


def this_distribution() -> Distribution:
    """The distribution of this machine."""
    for file in ("/etc/os-release", "/usr/lib/os-release"):
        try:
            return parse_os_release(Path(file).read_text(encoding="utf-8"))
        except OSError:
            continue
    return parse_os_release("")


def install_command(distribution: Distribution, packages: Sequence[str]) -> str | None:
    """What somebody types to install ``packages`` there; None when the distribution is not known."""
    words = _INSTALL.get(distribution.family)
    if words is None or not packages:
        return None
    return f"sudo {words} {' '.join(sorted(packages))}"
