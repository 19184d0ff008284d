"""What pip is configured with on this machine, in the words of uv.

uv does not read pip's configuration. People behind a mirror, a proxy or a company's certificate have told pip
once; this module tells uv, so that nobody has to say it twice. The launcher runs this file by its path before
the package is installed, so it imports the standard library only and nothing of this project.
"""

from __future__ import annotations

import configparser
import os
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

_KEYS = (
    "index-url",
    "extra-index-url",
    "find-links",
    "cert",
    "client-cert",
    "trusted-host",
    "timeout",
    "proxy",
    "no-index",
)
_CERTIFICATES = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
)
_SECTIONS = ("global", "install")
_ENVIRONMENT = {
    key: ("PIP_DEFAULT_TIMEOUT", "PIP_TIMEOUT")
    if key == "timeout"
    else (f"PIP_{key.upper().replace('-', '_')}",)
    for key in _KEYS
}


def configuration_files(environ: Mapping[str, str]) -> list[Path]:
    """pip's configuration files, the strongest last."""
    if environ.get("PIP_CONFIG_FILE") == os.devnull:
        return []
    home = Path(environ.get("HOME", "/nonexistent"))
    shared = environ.get("XDG_CONFIG_DIRS") or "/etc/xdg"
    personal = environ.get("XDG_CONFIG_HOME") or str(home / ".config")
    files = [Path(folder) / "pip" / "pip.conf" for folder in shared.split(":") if folder]
    files += [Path("/etc/pip.conf"), home / ".pip" / "pip.conf", Path(personal) / "pip" / "pip.conf"]
    if environ.get("PIP_CONFIG_FILE"):
        files.append(Path(environ["PIP_CONFIG_FILE"]))
    return files


def pip_settings(texts: Iterable[str], environ: Mapping[str, str]) -> dict[str, str]:
    """pip's settings from the texts of its files (the strongest last) and its environment, by pip's names."""
    settings: dict[str, str] = {}
    for text in texts:
        parser = configparser.RawConfigParser()
        try:
            parser.read_string(text)
        except configparser.Error:
            continue  # pip itself says so, and louder
        for section in _SECTIONS:
            if parser.has_section(section):
                settings.update(
                    {key: parser.get(section, key) for key in _KEYS if parser.has_option(section, key)}
                )
    for key, names in _ENVIRONMENT.items():
        for name in names:
            if environ.get(name):
                settings[key] = environ[name]
    return settings


def uv_settings(
    pip: Mapping[str, str], environ: Mapping[str, str], *, system_certificates: bool = True
) -> dict[str, str]:
    """Environment variables that give uv the same sources; what the user has told uv itself stays.

    ``system_certificates``: this machine has certificates; uv is told to use them rather than its own.
    """
    wanted: dict[str, str] = {"UV_PYTHON_DOWNLOADS": "never", "UV_NO_PROGRESS": "1"}
    if "index-url" in pip:
        wanted["UV_DEFAULT_INDEX"] = pip["index-url"].strip()
    if "extra-index-url" in pip:
        wanted["UV_INDEX"] = " ".join(pip["extra-index-url"].split())
        # pip takes the best of all its indexes; uv by default the first that knows the name.
        wanted["UV_INDEX_STRATEGY"] = "unsafe-best-match"
    if pip.get("find-links"):
        wanted["UV_FIND_LINKS"] = ",".join(pip["find-links"].split())
    if pip.get("no-index", "").lower() in ("1", "true", "yes", "on"):
        wanted["UV_NO_INDEX"] = "1"
    if "cert" in pip:
        wanted["SSL_CERT_FILE"] = pip["cert"].strip()
    if "client-cert" in pip:
        wanted["SSL_CLIENT_CERT"] = pip["client-cert"].strip()
    if "trusted-host" in pip:
        wanted["UV_INSECURE_HOST"] = " ".join(pip["trusted-host"].split())
    if "timeout" in pip:
        wanted["UV_HTTP_TIMEOUT"] = str(max(30, int(float(pip["timeout"]))))
    if "proxy" in pip:
        wanted["ALL_PROXY"] = pip["proxy"].strip()
    if system_certificates and not {"SSL_CERT_FILE", "SSL_CERT_DIR"} & ({*environ} | {*wanted}):
        wanted["UV_SYSTEM_CERTS"] = "1"
    equal = {"UV_DEFAULT_INDEX": "UV_INDEX_URL", "UV_INDEX": "UV_EXTRA_INDEX_URL"}
    return {
        name: value
        for name, value in wanted.items()
        if name not in environ and equal.get(name, name) not in environ
    }


def settings_of_this_machine() -> dict[str, str]:
    """:func:`uv_settings` of the files and the environment that are here."""
    texts = []
    for file in configuration_files(os.environ):
        try:
            texts.append(file.read_text(encoding="utf-8"))
        except OSError:
            continue  # not there or not ours to read: pip passes it over too
    pip = pip_settings(texts, os.environ)
    if "find-links" in pip:
        pip["find-links"] = " ".join(link for link in pip["find-links"].split() if can_be_read(link))
    certificates = any(Path(file).is_file() for file in _CERTIFICATES)
    return uv_settings(pip, os.environ, system_certificates=certificates)


def can_be_read(link: str) -> bool:
    """Is this an address, or a folder that is there? pip passes over one that is not, where uv gives up."""
    path = link.removeprefix("file://")
    return "://" in path or Path(path).exists()


if __name__ == "__main__":
    for name, value in settings_of_this_machine().items():
        print(f"export {name}={shlex.quote(value)}")
