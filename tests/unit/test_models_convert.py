"""From a Hugging Face folder to GGUF."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ai_how.errors import AiHowError, NotFound
from ai_how.models.convert import convert
from ai_how.models.hf_to_gguf import know_home_made_tokenizers, splits_like_gpt2
from ai_how.run import Command
from ai_how.run.fake import Answer, ScriptedGate

HOME_MADE: dict[str, Any] = {
    "normalizer": None,
    "pre_tokenizer": {
        "type": "ByteLevel",
        "add_prefix_space": False,
        "trim_offsets": True,
        "use_regex": True,
    },
    "model": {"type": "BPE"},
}


def model_folder(folder: Path) -> Path:
    folder.mkdir()
    for name in ("config.json", "tokenizer.json"):
        (folder / name).write_text("{}")
    return folder


def outfile(command: Command) -> Path:
    return Path(command.argv[command.argv.index("--outfile") + 1])


def test_a_folder_becomes_one_file(tmp_path: Path) -> None:
    def converter(command: Command) -> Answer:
        outfile(command).write_bytes(b"GGUF")
        return 0, "", ""

    gate = ScriptedGate([(["python"], converter)])
    folder, target = model_folder(tmp_path / "model"), tmp_path / "made" / "model.gguf"
    assert convert(gate, Path("/env/bin/python"), folder, target, name="site-facts") == target
    assert target.read_bytes() == b"GGUF"
    assert list(target.parent.iterdir()) == [target]
    (command,) = gate.commands
    assert command.argv[-1] == str(folder)
    assert command.argv[4:8] == ("--outtype", "f16", "--model-name", "site-facts")
    assert command.env["HF_HUB_OFFLINE"] == "1"


def test_a_conversion_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    def converter(command: Command) -> Answer:
        outfile(command).write_bytes(b"half")
        return 1, "", "Model FooForCausalLM is not supported"

    target = tmp_path / "model.gguf"
    target.write_bytes(b"old")
    with pytest.raises(AiHowError) as raised:
        convert(ScriptedGate([(["python"], converter)]), Path("python"), model_folder(tmp_path / "m"), target)
    assert raised.value.detail == "Model FooForCausalLM is not supported"
    assert target.read_bytes() == b"old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "model.gguf"]


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"lacks config\.json and tokenizer\.json"):
        convert(ScriptedGate(), Path("python"), tmp_path, tmp_path / "model.gguf")


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"type": "Unigram"}},
        {"normalizer": {"type": "NFC"}},
        {"pre_tokenizer": None},
        {"pre_tokenizer": {"type": "Sequence", "pretokenizers": []}},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True, "use_regex": True}},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}},
    ],
)
def test_only_gpt2s_way_to_split_is_taken_for_it(change: dict[str, Any]) -> None:
    assert splits_like_gpt2(HOME_MADE)
    assert not splits_like_gpt2({**HOME_MADE, **change})


class Converter:
    """A stand-in for the converter's class for text models."""

    def __init__(self, folder: Path, known: str | None) -> None:
        self.dir_model, self.known = folder, known

    def get_vocab_base_pre(self, tokenizer: object) -> str:
        if self.known is None:
            raise NotImplementedError("BPE pre-tokenizer was not recognized")
        return self.known


def test_a_tokenizer_that_the_converter_knows_keeps_its_name(tmp_path: Path) -> None:
    class Known(Converter):
        get_vocab_base_pre = Converter.get_vocab_base_pre

    know_home_made_tokenizers(Known)
    assert Known(tmp_path, "smollm").get_vocab_base_pre(None) == "smollm"
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(NotImplementedError):
        Known(tmp_path, None).get_vocab_base_pre(None)


def test_two_who_want_the_same_model_at_once_do_not_meet(tmp_path: Path) -> None:
    folder, target = model_folder(tmp_path / "m"), tmp_path / "model.gguf"
    python = Path("python")

    def second(command: Command) -> Answer:
        outfile(command).write_bytes(b"whole")
        return 0, "", ""

    def first(command: Command) -> Answer:
        outfile(command).write_bytes(b"hal")
        convert(ScriptedGate([(["python"], second)]), python, folder, target)
        assert target.read_bytes() == b"whole" and outfile(command).read_bytes() == b"hal"
        outfile(command).write_bytes(b"whole")
        return 0, "", ""

    assert convert(ScriptedGate([(["python"], first)]), python, folder, target).read_bytes() == b"whole"
