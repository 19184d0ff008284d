"""What memory a model needs, read from its own files, and the smallest device that has it."""

from __future__ import annotations

import io
import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from ai_how.cli import main
from ai_how.errors import AiHowError, NotFound
from ai_how.serving.fit import Gres, Shape, choose, gres_memory, need, read_shape
from ai_how.serving.fit.gguf import read_metadata, shape
from ai_how.site.fit import split_gres

MIB = 2**20
#: Llama 3 8B, quantised to Q4_K_M: the figures of its GGUF file.
LLAMA = Shape("llama", 4_912_898_048, (2 * 8 * 128,) * 32, 4096, 14336, 128256, 8192, 32)
EXAMPLES = Path(__file__).parents[2] / "examples" / "clusters"


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value)) + value.encode()


def gguf(facts: dict[str, Any], *, version: int = 3, tail: bytes = b"") -> bytes:
    """A GGUF file of these metadata: texts, whole numbers, lists of either."""
    raw = struct.pack("<4sIQQ", b"GGUF", version, 0, len(facts))
    for key, value in facts.items():
        raw += text(key)
        if isinstance(value, str):
            raw += struct.pack("<I", 8) + text(value)
        elif isinstance(value, int):
            raw += struct.pack("<II", 4, value)
        elif value and isinstance(value[0], str):
            raw += struct.pack("<IIQ", 9, 8, len(value)) + b"".join(map(text, value))
        else:
            raw += struct.pack("<IIQ", 9, 4, len(value)) + struct.pack(f"<{len(value)}I", *value)
    return raw + tail


class Named(io.BytesIO):
    name = "model.gguf"


def read(raw: bytes) -> tuple[dict[str, Any], int]:
    file: BinaryIO = Named(raw)
    return read_metadata(file, len(raw))


SMALL = {
    "general.architecture": "llama",
    "llama.block_count": 2,
    "llama.embedding_length": 64,
    "llama.feed_forward_length": 128,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.context_length": 512,
    "tokenizer.ggml.tokens": ["a", "b", "c"],
}


def test_a_head_is_read_and_what_follows_is_counted() -> None:
    metadata, rest = read(gguf(SMALL, tail=b"\0" * 1000))
    assert rest == 1000 and metadata["tokenizer.ggml.tokens"] == 3
    assert shape(metadata, rest) == Shape("llama", 1000, (2 * 2 * 16,) * 2, 64, 128, 3, 512, 4)


def test_layers_may_differ_and_say_their_own_lengths() -> None:
    facts = SMALL | {
        "llama.attention.head_count_kv": [0, 4], "llama.attention.key_length": 10, "llama.attention.value_length": 6
    }  # fmt: skip
    assert shape(read(gguf(facts))[0], 0).cache == (0, 64)


def test_experts_that_work_at_once_count_together() -> None:
    facts = SMALL | {"llama.expert_used_count": 8, "llama.expert_feed_forward_length": 100}
    assert shape(read(gguf(facts))[0], 0).inner == 800


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"GGML" + b"\0" * 100,
        gguf(SMALL, version=1),
        gguf(SMALL)[:60],
        struct.pack("<4sIQQ", b"GGUF", 3, 0, 2**63),
        struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + struct.pack("<Q", 2**62),
        struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + text("a") + struct.pack("<I", 77),
        struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + text("a") + struct.pack("<IIQ", 9, 8, 2**60),
        struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + text("a") + struct.pack("<IIQ", 9, 4, 2**60),
        struct.pack("<4sIQQ", b"GGUF", 3, 0, 1) + text("a") + struct.pack("<IIQ", 9, 9, 1) * 50,
    ],
)
def test_a_file_that_is_none_or_means_harm(raw: bytes) -> None:
    with pytest.raises(AiHowError):
        read(raw)


def test_a_model_that_does_not_tell_its_size() -> None:
    with pytest.raises(AiHowError, match="does not tell the size"):
        shape({"general.architecture": "clip"}, 1)


def test_weights_in_several_files_are_all_counted(tmp_path: Path) -> None:
    (tmp_path / "big-00001-of-00002.gguf").write_bytes(gguf(SMALL, tail=b"\0" * 100))
    (tmp_path / "big-00002-of-00002.gguf").write_bytes(b"\0" * 50)
    (tmp_path / "other-00002-of-00002.gguf").write_bytes(b"\0" * 7)
    assert read_shape(tmp_path / "big-00001-of-00002.gguf").weights == 150


def folder(path: Path, config: dict[str, Any], tensors: dict[str, Any]) -> Path:
    head = json.dumps(tensors).encode()
    (path / "config.json").write_text(json.dumps(config))
    (path / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head)
    return path


CONFIG = {
    "model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64, "num_attention_heads": 4,
    "num_key_value_heads": 2, "intermediate_size": 128, "vocab_size": 3, "max_position_embeddings": 512,
}  # fmt: skip
TENSORS = {
    "__metadata__": {"format": "pt"},
    "a": {"dtype": "F32", "shape": [10, 50], "data_offsets": [0, 2000]},
}


def test_a_folder_of_the_same_model_is_the_same(tmp_path: Path) -> None:
    """Two bytes a number, whatever they are there: it is converted to 16 bits to be served."""
    assert read_shape(folder(tmp_path, CONFIG, TENSORS)) == shape(read(gguf(SMALL))[0], 1000)


def test_a_model_of_several_kinds_tells_of_its_text_part(tmp_path: Path) -> None:
    assert read_shape(folder(tmp_path, {"text_config": CONFIG | {"head_dim": 32}}, TENSORS)).cache == (
        128,
        128,
    )


MIXED = {
    "a.weight": {"dtype": "F8_E4M3", "shape": [10, 10], "data_offsets": [0, 100]},
    "a.qweight": {"dtype": "I32", "shape": [10], "data_offsets": [100, 140]},
    "a.norm": {"dtype": "F32", "shape": [10], "data_offsets": [140, 180]},
    "a.bias": {"dtype": "BF16", "shape": [10], "data_offsets": [180, 200]},
}


@pytest.mark.parametrize("method", ["fp8", "gptq", "awq", "bitsandbytes", ""])
def test_what_is_quantised_is_counted_as_it_is_stored(tmp_path: Path, method: str) -> None:
    config = CONFIG | ({"quantization_config": {"quant_method": method}} if method else {})
    made = folder(tmp_path, config | {"torch_dtype": "bfloat16"}, MIXED)
    shapes = {engine: read_shape(made, engine) for engine in ("vllm", "transformers")}
    assert {one.weights for one in shapes.values()} == {100 + 40 + 20 + 20}
    assert {one.quantisation for one in shapes.values()} == {method}
    assert read_shape(folder(tmp_path, config, MIXED), "transformers").weights == 100 + 40 + 40 + 20


def test_vllm_takes_its_part_of_a_device_and_divides_by_heads() -> None:
    """By its documentation: 0.9 of the memory, blocks of 16 tokens; 32 heads divide among 1, 2, 4 and not among 3."""
    asked = need(LLAMA, 100, 2, gpu=True, engine="vllm")
    assert asked.cache == 112 * 2 * sum(LLAMA.cache) * 2
    gres = [Gres("a100", int(40e9 * 0.95), 4)]
    one = choose("m", LLAMA, 4096, 4, gres, [], engine="vllm")
    assert one.chosen and one.chosen.gres == "gpu:a100:1" and one.chosen.memory == int(40e9 * 0.95 * 0.9)
    big = replace(LLAMA, weights=75_000_000_000)
    found = choose("m", big, 4096, 4, gres, [], engine="vllm")
    assert found.chosen and found.chosen.gres == "gpu:a100:4" and found.devices == 4
    assert choose("m", big, 4096, 4, gres, []).devices == 3
    assert choose("m", replace(big, heads=6), 4096, 4, gres, [], engine="vllm").devices == 3


def test_an_engine_of_pytorch_needs_what_pytorch_takes() -> None:
    ours = need(LLAMA, 2048, 1, gpu=False, engine="transformers")
    assert (
        ours.runtime > need(LLAMA, 2048, 1, gpu=False).runtime and ours.cache == 2048 * sum(LLAMA.cache) * 2
    )


def test_a_model_of_ollamas_is_read_by_its_manifest(tmp_path: Path) -> None:
    blob = tmp_path / "blobs" / "sha256-abc"
    blob.parent.mkdir()
    blob.write_bytes(gguf(SMALL, tail=b"\0" * 1000))
    manifest = tmp_path / "manifests/registry.ollama.ai/library/tiny/latest"
    manifest.parent.mkdir(parents=True)
    layers = [
        {"mediaType": "application/vnd.ollama.image.template", "digest": "sha256:def"},
        {"mediaType": "application/vnd.ollama.image.model", "digest": "sha256:abc"},
    ]
    manifest.write_text(json.dumps({"config": {}, "layers": layers}))
    assert read_shape(manifest, "ollama").weights == 1000


@pytest.mark.parametrize(
    "config", [{}, {"text_config": 7}, CONFIG | {"num_attention_heads": 0}, CONFIG | {"hidden_size": "x"}]
)
def test_a_config_that_tells_nothing(tmp_path: Path, config: dict[str, Any]) -> None:
    with pytest.raises(AiHowError, match="config.json"):
        read_shape(folder(tmp_path, config, TENSORS))


@pytest.mark.parametrize(
    "raw", [b"", b"\xff" * 8, struct.pack("<Q", 2) + b"[]", struct.pack("<Q", 9) + b'{"a": 1}']
)
def test_safetensors_that_are_none(tmp_path: Path, raw: bytes) -> None:
    folder(tmp_path, CONFIG, TENSORS)
    (tmp_path / "model.safetensors").write_bytes(raw)
    with pytest.raises(AiHowError, match="safetensors"):
        read_shape(tmp_path)


def test_what_is_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.gguf", tmp_path):
        with pytest.raises(NotFound):
            read_shape(path)


# --- the formulas and the choice --------------------------------------------------------------------------


def test_the_figures_of_a_model_that_everybody_knows() -> None:
    """What llama.cpp's log says of it: 1024 MiB of cache at 8192 tokens, 258.5 MiB to work with at 512."""
    assert need(LLAMA, 8192, 1, gpu=True).cache == 1024 * MIB
    assert need(LLAMA, 512, 1, gpu=True).compute == 258.5 * MIB + 0.5 * MIB
    assert need(LLAMA, 2048, 4, gpu=True).cache == need(LLAMA, 8192, 1, gpu=True).cache


def test_the_memory_of_slurms_types() -> None:
    assert gres_memory("a100_1g.10gb") == (9_500_000_000, True)
    assert gres_memory("nvidia_h100_3g.40gb") == (38_000_000_000, True)
    assert gres_memory("a100") == (76_000_000_000, False)
    assert gres_memory("abacus") == (None, False)


def gres(*kinds: str, most: int = 1) -> list[Gres]:
    found = [(kind, *gres_memory(kind)) for kind in kinds]
    return [Gres(kind, memory, most, is_slice) for kind, memory, is_slice in found]


@pytest.mark.parametrize(
    ("context", "chosen"),
    [
        (2048, "gpu:a100_1g.10gb:1"),
        (32768, "gpu:a100_2g.20gb:1"),
        (131072, "gpu:a100_3g.40gb:1"),
        (400_000, "gpu:a100:1"),
    ],
)
def test_the_smallest_that_holds_it(context: int, chosen: str) -> None:
    there = gres("a100", "a100_3g.40gb", "a100_1g.10gb", "a100_2g.20gb")
    found = choose("m", LLAMA, context, 1, there, [])
    assert found.chosen is not None and found.chosen.gres == chosen
    assert [one.holds for one in found.considered] == sorted(one.holds for one in found.considered)
    assert all("too small" in one.why for one in found.considered if not one.holds)


def test_a_model_may_be_spread_over_devices_and_never_over_slices() -> None:
    big = Shape("llama", 130 * 10**9, (2048,) * 80, 8192, 28672, 128256, 8192)
    found = choose("m", big, 8192, 1, gres("a100", "a100_3g.40gb", most=4), [])
    assert found.chosen is not None and found.chosen.gres == "gpu:a100:2"
    assert [one.gres for one in found.considered] == ["gpu:a100_3g.40gb:1", "gpu:a100:2"]
    assert choose("m", big, 8192, 1, gres("a100"), []).chosen is None


def test_a_device_of_unknown_memory_is_named_and_left_out() -> None:
    found = choose("m", LLAMA, 2048, 1, gres("abacus"), [])
    assert found.chosen is None and "abacus" in found.remarks[0]


def test_without_gpus_the_nodes_memory_decides() -> None:
    found = choose("m", LLAMA, 2048, 1, [], [4 * 10**9, 16 * 10**9, 8 * 10**9, 16 * 10**9])
    assert found.chosen is not None and (found.chosen.gres, found.chosen.memory) == (None, 8 * 10**9)
    assert len(found.considered) == 3 and "no GPUs" in found.remarks[0]


def test_a_context_beyond_what_it_was_trained_for_is_told() -> None:
    assert "8192 tokens" in choose("m", LLAMA, 9000, 1, gres("a100"), []).remarks[0]


# --- the command ------------------------------------------------------------------------------------------


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("AI_HOW_ROOT", str(tmp_path / "root"))
    (tmp_path / "small.gguf").write_bytes(gguf(SMALL, tail=b"\0" * 1000))
    return str(tmp_path / "small.gguf")


def test_a_dry_run_needs_no_site(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    file = str(EXAMPLES / "workstation.yaml")
    assert main(["serve", model, "--dry-run", "--json", "--file", file]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["chosen"]["gres"] == "gpu:a100_1g.10gb:1" and facts["bytes"]["weights"] == 1000
    assert facts["bytes"]["total"] == sum(value for key, value in facts["bytes"].items() if key != "total")
    assert facts["model"] == "small" and "simulated" in facts["remarks"][-1]
    assert main(["serve", model, "--dry-run", "--file", file]) == 0
    assert "--gres gpu:a100_1g.10gb:1" in capsys.readouterr().out


def test_a_dry_run_on_a_cluster_of_cpus(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", model, "--dry-run", "--file", str(EXAMPLES / "one-node.yaml")]) == 0
    assert "has no GPUs" in capsys.readouterr().out


def test_nothing_holds_it(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = [
        "serve",
        model,
        "--dry-run",
        "--context",
        "1000000000",
        "--file",
        str(EXAMPLES / "one-node.yaml"),
    ]
    assert main(words) == 1
    assert "Nothing in the cluster holds it" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--context", "0"], 2, "--context 0: that is too few"),
        (["--slots", "-1"], 2, "--slots -1: that is too few"),
        (["--partition", "lagre"], 8, "there is no partition 'lagre'"),
        (["--account", "nobody"], 8, "there is no account 'nobody'"),
        (["--qos", "hihg"], 8, "there is no QOS 'hihg'"),
        (["--gres", "gpu:h100:1"], 8, "no node of the cluster has gpu:h100:1"),
        (["--gres", "gpu:a100:9"], 8, "no node of the cluster has gpu:a100:9"),
        (["--name", "../x"], 1, "'../x' cannot name a model"),
        (["--engine", "lama.cpp"], 8, "there is no engine called 'lama.cpp'"),
    ],
)
def test_a_dry_run_refuses_what_serve_would(
    words: list[str], code: int, says: str, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", model, "--dry-run", "--file", str(EXAMPLES / "workstation.yaml"), *words]) == code
    assert says in capsys.readouterr().err


def test_of_a_gres_that_is_named_no_other_is_looked_at(
    model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--gres", "gpu:rtx-6000-ada", "--json", "--file", str(EXAMPLES / "workstation.yaml")]
    assert main(["serve", model, "--dry-run", *words]) == 0
    assert json.loads(capsys.readouterr().out)["chosen"]["gres"] == "gpu:rtx-6000-ada:1"


def test_a_model_without_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["serve", "", "--dry-run", "--file", str(EXAMPLES / "workstation.yaml")]) == 2
    assert "no model is named" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("gres", "asks"),
    [
        ("gpu", ("", 1)),
        ("gpu:2", ("", 2)),
        ("gpu:a100", ("a100", 1)),
        ("gpu:a100_1g.10gb:3", ("a100_1g.10gb", 3)),
    ],
)
def test_what_a_gres_asks_for(gres: str, asks: tuple[str, int]) -> None:
    assert split_gres(gres) == asks
