"""From what somebody calls a model to files on the site's share that an engine loads."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ai_how.errors import AiHowError, NotFound
from ai_how.host import Progress
from ai_how.models.convert import convert
from ai_how.models.fetch import fetch_hub, fetch_ollama
from ai_how.models.source import AtPath, InLibrary, OnHub, Registered, Source, parse_source
from ai_how.models.store import Store
from ai_how.serving.engines import Engine, find_engine
from ai_how.serving.fit import ollama_blob
from ai_how.site import work
from ai_how.site.control import Site

#: The runtime environment that asks the hub.
HUB = "transformers"


@dataclass(frozen=True)
class Brought:
    """A model where engines find it: its own name, its file, folder or manifest, and the registry's version of it."""

    name: str
    path: Path
    version: str | None = None


def source_of(reference: str) -> Source:
    """What ``reference`` means here. Raises :class:`UsageError`."""
    return parse_source(reference, is_there=Path(reference).exists())


def engine_for(reference: str, named: str | None = None) -> Engine:
    """The engine that somebody named, or the usual one for such a model.

    Raises :class:`NotFound` for an engine that does not exist, :class:`UsageError` for what names no model.
    """
    usual = "ollama" if isinstance(source_of(reference), InLibrary) else work.ENGINE
    return find_engine(named or usual)


def bring(site: Site, reference: str, engine: Engine, progress: Progress) -> Brought:
    """The model in a form that ``engine`` loads: fetched and converted when it is not here yet.

    Raises :class:`NotFound` for a model that does not exist or cannot be fetched, :class:`AiHowError` for one of a form
    that the engine does not load.
    """
    match source_of(reference):
        case InLibrary() as source:
            return _of_library(site, source, engine, progress)
        case OnHub() as source:
            return _of_hub(site, source, engine, progress)
        case (AtPath() | Registered()) as source:
            return _of_site(site, reference, source, engine, progress)


def kept(site: Site, source: OnHub | InLibrary, engine: Engine) -> Brought:
    """A model from elsewhere as a store has it, in whatever form: nothing is fetched, converted or built.

    Raises :class:`NotFound` where no store has it.
    """
    store = _store(site)
    if isinstance(source, OnHub):
        name, what = source.name, f"{source.repo} at {source.revision}"
        folder = store.find_hub(source)
        path = folder / source.file if folder and source.file else folder
    else:
        name = what = source.served
        manifest = store.find_ollama(source)
        path = manifest if manifest is None or "ollama" in engine.loads else ollama_blob(manifest)
    if path is None:
        raise NotFound(
            f"no store has {what}, so its size is not known here",
            cause="A dry run fetches nothing.",
            todo="`ai-how serve` without --dry-run fetches it, and chooses for it in the same way.",
        )
    return Brought(name, path)


def _store(site: Site) -> Store:
    return Store.of(site.layout.models)


def _of_library(site: Site, source: InLibrary, engine: Engine, progress: Progress) -> Brought:
    manifest = fetch_ollama(_store(site), source, progress)
    if "ollama" in engine.loads:
        return Brought(source.served, manifest)
    blob = ollama_blob(manifest)
    if "gguf" in engine.loads and blob is not None:
        return Brought(source.served, blob)
    raise _wrong_form(engine, source.served)


def _of_hub(site: Site, source: OnHub, engine: Engine, progress: Progress) -> Brought:
    folder = _store(site).find_hub(source)
    if folder is None:
        python = site.environments.ensure(HUB, progress) / "bin" / "python"
        folder = fetch_hub(site.gate, python, _store(site), source, progress)
    if source.file is not None:
        if "gguf" not in engine.loads:
            raise _wrong_form(engine, source.file)
        return Brought(source.name, folder / source.file)
    if "folder" in engine.loads:
        return Brought(source.name, folder)
    if "gguf" not in engine.loads:
        raise _wrong_form(engine, source.repo)
    target = site.layout.models / f"{source.folder}-{folder.name[:12]}-f16.gguf"
    if not target.exists():
        converter = site.environments.ensure(work.CONVERTER, progress) / "bin" / "python"
        progress(f"converting {source.repo} to GGUF")
        convert(site.gate, converter, folder, target, name=source.name)
    return Brought(source.name, target)


def _of_site(
    site: Site, reference: str, source: AtPath | Registered, engine: Engine, progress: Progress
) -> Brought:
    if "gguf" in engine.loads and isinstance(source, AtPath) and source.path.is_file():
        return Brought(source.path.stem, source.path.resolve())
    if "gguf" in engine.loads:
        found = work.gguf(site, reference, progress)
        return Brought(found.name, found.path, found.version)
    if isinstance(source, AtPath):
        path = source.path.resolve()
        if not path.exists():
            raise NotFound(f"there is nothing at {path}", todo="Give a folder, or a registered model's name.")
        return Brought(path.stem if path.is_file() else path.name, path)
    if "folder" not in engine.loads:
        raise _wrong_form(engine, reference)
    version = work.models_of(site).find(reference)
    return Brought(version.name, work.models_of(site).fetch(reference), version.version)


def _wrong_form(engine: Engine, what: str) -> AiHowError:
    kinds = {"gguf": "a GGUF file", "folder": "a Hugging Face folder", "ollama": "ollama:NAME:TAG"}
    return AiHowError(
        f"{engine.name} does not load {what}",
        todo=f"It loads {' or '.join(kinds[kind] for kind in engine.loads)}; --engine names another engine.",
    )
