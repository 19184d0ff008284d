"""From what somebody calls a model to what a replica of it is started with; sites that were never up."""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path

import pytest

from ai_how.cli import main
from ai_how.errors import AiHowError, NotFound, SpecError, UsageError
from ai_how.models.source import OnHub
from ai_how.models.store import Store
from ai_how.serving.engines import find_engine
from ai_how.serving.replicas import ReplicaResources
from ai_how.site import open_site
from ai_how.site.control import Site
from ai_how.site.resolve import Wish, count_of, resolve
from ai_how.site.sources import bring, engine_for
from ai_how.slurm import parse
from ai_how.slurm.model import Offer
from ai_how.spec import parse as parse_file
from ai_how.spec.runtime import ServingRuntime, parse_runtime
from ai_how.spec.template import laptop

sys.path.insert(0, str(Path(__file__).parents[1] / "contract"))

from tiny_folder import write_tiny_folder
from tiny_gguf import write_tiny_gguf

EXAMPLES = Path(__file__).parents[2] / "examples" / "clusters"
COMMIT = "0123456789abcdef0123456789abcdef01234567"
THERE = ServingRuntime(path="/opt/engine")


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return open_site(EXAMPLES / "workstation.yaml", tmp_path / "root")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_folder(tmp_path / "tiny")


def wish(folder: Path, engine: str = "vllm", gres: str | None = None, **more: object) -> Wish:
    resources = ReplicaResources(gres=gres)
    return Wish(str(folder), engine=engine, runtime=THERE, resources=resources, **more)  # type: ignore[arg-type]


def test_the_smallest_gpu_is_chosen_where_none_is_named_and_it_is_said_why(site: Site, folder: Path) -> None:
    said: list[str] = []
    name, version = resolve(site, wish(folder), said.append)
    assert (name, version.engine, version.path) == ("tiny", "vllm", str(folder))
    assert version.resources.gres == "gpu:a100_1g.10gb:1" and version.resources.partition is None
    assert version.devices == 0  # simulated: given out, but nothing computes on it
    assert any("a100_1g.10gb holds it" in one and "--gres gpu:a100_1g.10gb:1" in one for one in said)


def test_what_is_named_stays(site: Site, folder: Path) -> None:
    _, version = resolve(site, wish(folder, gres="gpu:rtx-6000-ada:1"), str)
    assert version.resources.gres == "gpu:rtx-6000-ada:1"


def test_real_devices_are_the_engines_to_compute_on(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = open_site(EXAMPLES / "existing.yaml", tmp_path / "root")
    site.reach = None  # nothing is sent: what is there is another test's
    offered = [
        Offer("gpu", True, "g01", 64, 512_000, {"a100": 4}),
        Offer("cpu", False, "c01", 64, 512_000, {}),
    ]
    monkeypatch.setattr("ai_how.site.fit.offers", lambda site: iter(offered))
    _, version = resolve(site, wish(folder), str)
    assert (version.resources.gres, version.devices) == ("gpu:a100:1", 1)
    gguf = write_tiny_gguf(tmp_path / "tiny.gguf")
    _, version = resolve(site, wish(gguf, "llama.cpp"), str)
    assert (version.resources.gres, version.devices, version.gpu_layers) == ("gpu:a100:1", 1, 999)


def test_gpus_of_another_partition_are_found_and_the_partition_named(
    site: Site, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offered = [
        Offer("cpu", True, "c01", 64, 512_000, {}),
        Offer("gpu", False, "g01", 64, 512_000, {"v100": 2}),
    ]
    monkeypatch.setattr("ai_how.site.fit.offers", lambda site: iter(offered))
    monkeypatch.setattr("ai_how.site.fit.gres_memory", lambda kind: (16 * 10**9, False))
    _, version = resolve(site, wish(folder), str)
    assert (version.resources.gres, version.resources.partition) == ("gpu:v100:1", "gpu")


def test_an_engine_that_needs_a_gpu_is_not_started_without(site: Site, folder: Path) -> None:
    with pytest.raises(AiHowError, match="the cluster has none that holds tiny") as caught:
        resolve(site, wish(folder, context=10**9), str)
    assert "too small" in (caught.value.detail or "")
    # One that may do without does without.
    assert resolve(site, wish(folder, "transformers", context=10**9), str)[1].resources.gres is None


def test_memory_is_that_of_all_the_files(site: Site, folder: Path) -> None:
    _, version = resolve(site, wish(folder), str)
    assert version.resources.memory and 1500 < int(version.resources.memory.rstrip("M")) < 4000


@pytest.mark.parametrize(
    ("gres", "count"), [(None, 0), ("gpu", 1), ("gpu:3", 3), ("gpu:a100:2", 2), ("gpu:a100", 1)]
)
def test_how_many_a_gres_is(gres: str | None, count: int) -> None:
    assert count_of(gres) == count


def test_an_engine_is_chosen_by_the_model() -> None:
    assert engine_for("ollama:llama3.2").name == "ollama" and engine_for("digits").name == "llama.cpp"
    assert engine_for("ollama:llama3.2", "llama.cpp").name == "llama.cpp"
    with pytest.raises(NotFound, match="no engine called"):
        engine_for("digits", "llama")


def ollama_store(root: Path) -> Path:
    """A folder of Ollama's with a real model in it."""
    gguf = write_tiny_gguf(root.parent / "for-ollama.gguf").read_bytes()
    digest = hashlib.sha256(gguf).hexdigest()
    (root / "blobs").mkdir(parents=True)
    (root / "blobs" / f"sha256-{digest}").write_bytes(gguf)
    layer = {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{digest}"}
    manifest = root / "manifests/registry.ollama.ai/library/tiny/1b"
    manifest.parent.mkdir(parents=True)
    manifest.write_text(json.dumps({"schemaVersion": 2, "config": layer, "layers": [layer]}))
    return manifest


def test_a_model_of_a_shared_store_is_served_by_either_engine(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = ollama_store(tmp_path / "theirs")
    monkeypatch.setenv("AI_HOW_MODEL_STORES", str(tmp_path / "theirs"))
    name, version = resolve(site, Wish("ollama:tiny:1b", runtime=THERE), str)
    assert (name, version.engine, version.path) == ("tiny:1b", "ollama", str(manifest))
    blob = bring(site, "ollama:tiny:1b", find_engine("llama.cpp"), str)
    assert blob.path.parent.name == "blobs" and blob.path.read_bytes()[:4] == b"GGUF"
    with pytest.raises(AiHowError, match="vllm does not load tiny:1b"):
        bring(site, "ollama:tiny:1b", find_engine("vllm"), str)


def test_a_dry_run_tells_of_the_engine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("AI_HOW_ROOT", str(tmp_path / "root"))
    monkeypatch.setenv("AI_HOW_MODEL_STORES", str(tmp_path / "theirs"))
    ollama_store(tmp_path / "theirs")
    file = str(EXAMPLES / "workstation.yaml")
    assert main(["serve", "ollama:tiny:1b", "--dry-run", "--json", "--file", file]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["engine"], facts["model"], facts["partition"]) == ("ollama", "tiny:1b", None)


@pytest.mark.parametrize("engine", ["llama.cpp", "transformers"])
def test_a_dry_run_reads_what_a_store_has_and_builds_nothing(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def built(*words: object) -> None:
        raise AssertionError(words)

    monkeypatch.setattr("ai_how.host.Environments.ensure", built)
    monkeypatch.setenv("AI_HOW_ROOT", str(tmp_path / "root"))
    words = ("serve", "hf:org/tiny", "--dry-run", "--engine", engine, "--json")
    file = ("--file", str(EXAMPLES / "workstation.yaml"))
    assert main([*words, *file]) == NotFound.exit_code
    assert "no store has org/tiny at main" in capsys.readouterr().out
    assert not (tmp_path / "root").exists()
    source, store = OnHub("org/tiny"), Store(tmp_path / "root" / "share" / "models")
    write_tiny_folder(store.draft_hub(source))
    store.keep_hub(source, COMMIT)
    assert main([*words, *file]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["engine"], facts["model"]) == (engine, "tiny")


def test_a_repository_that_the_store_has_needs_no_network(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    source, store = OnHub("org/tiny"), Store(site.layout.models)
    write_tiny_folder(store.draft_hub(source))
    kept = store.keep_hub(source, COMMIT)
    name, version = resolve(site, Wish("hf:org/tiny", engine="transformers", runtime=THERE), str)
    assert (name, version.path) == ("tiny", str(kept))


def test_what_no_node_has_is_refused_before_anything_is_brought(site: Site) -> None:
    with pytest.raises(NotFound, match="no node of the cluster has gpu:h100:1"):
        resolve(site, Wish("hf:org/tiny", resources=ReplicaResources(gres="gpu:h100:1")), str)
    with pytest.raises(NotFound, match=r"there is no image /images/none\.sif"):
        resolve(site, Wish("hf:org/tiny", runtime=ServingRuntime(image="/images/none.sif")), str)
    with pytest.raises(NotFound, match="there is no account 'nobody'") as caught:
        resolve(site, Wish("hf:org/tiny", resources=ReplicaResources(account="nobody")), str)
    assert "slurm_config.accounts" in (caught.value.todo or "")
    with pytest.raises(NotFound, match="there is no partition 'lagre'"):
        resolve(site, Wish("hf:org/tiny", resources=ReplicaResources(partition="lagre")), str)


def test_a_file_without_accounts_names_none_but_the_sites_own() -> None:
    model = "serving: {models: [{name: m, source: m, resources: {account: %s}}]}\n"
    assert parse_file(laptop() + model % "site").spec.serving.models
    with pytest.raises(SpecError) as caught:
        parse_file(laptop() + model % "nobody")
    assert [one.message for one in caught.value.problems] == ["there is no account 'nobody'"]


def test_runtimes_as_they_are_written() -> None:
    assert parse_runtime("venv:llama-cpp").venv == "llama-cpp"
    assert (
        parse_runtime("podman:docker.io/vllm/vllm-openai:v0.11.0").podman
        == "docker.io/vllm/vllm-openai:v0.11.0"
    )
    with pytest.raises(ValueError, match="options are for an image"):
        ServingRuntime(path="/opt/vllm", options=("--nv",))
    both = parse_runtime("modules:cuda/12.4,vllm;path:/opt/vllm")
    assert (both.modules, both.path) == (("cuda/12.4", "vllm"), "/opt/vllm")
    for wrong in ("", "venv", "venv:", "what:ever", "path:/a;image:/b.sif", "path:/a;path:/b"):
        with pytest.raises(AiHowError):
            parse_runtime(wrong)


def test_what_slurm_offers_is_read() -> None:
    text = (
        "gpu*|g01|64|512000|gpu:a100:4(S:0-1)\n"
        "gpu*|g02|64|512000+|gpu:a100_1g.5gb:7(S:0),gpu:2,lustre:1\n"
        "cpu|c01|128|256000|(null)\nnonsense\n"
    )
    assert list(parse.offers(text)) == [
        Offer("gpu", True, "g01", 64, 512_000, {"a100": 4}),
        Offer("gpu", True, "g02", 64, 512_000, {"a100_1g.5gb": 7, "": 2}),
        Offer("cpu", False, "c01", 128, 256_000, {}),
    ]


def test_a_site_that_was_never_up_has_no_token_for_its_gateway(site: Site) -> None:
    with pytest.raises(UsageError, match="no gateway yet") as caught:
        _ = site.gateway_token
    assert "ai-how up" in str(caught.value.todo)
