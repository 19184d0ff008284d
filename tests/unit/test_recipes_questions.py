"""Questions and answers about a site, and what the fine-tuning is prepared with."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

RECIPES = Path(__file__).parents[2] / "src" / "ai_how" / "jobs" / "recipes"
SITE: dict[str, Any] = {
    "site": "laptop",
    "partitions": [
        {"name": "debug", "nodes": ["node01", "node02"], "default": True, "time_limit": "00:30:00"},
        {"name": "gpu", "nodes": ["node02"], "default": False, "time_limit": None},
    ],
    "nodes": [
        {"name": "node01", "cpus": 1, "memory_gb": 4, "devices": [], "partitions": ["debug"]},
        {
            "name": "node02",
            "cpus": 4,
            "memory_gb": 8,
            "devices": [{"type": "a100", "count": 2}, {"type": "h100", "count": 1}],
            "partitions": ["debug", "gpu"],
        },
    ],
    "services": [{"name": "mlflow", "port": 18500}],
}


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(RECIPES / "site-facts")
    return importlib.import_module("questions")


@pytest.fixture
def prepare(questions: ModuleType, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(RECIPES)
    return importlib.import_module("prepare")


def test_every_fact_of_the_site_has_an_answer(questions: ModuleType) -> None:
    assert [fact.answer for fact in questions.facts_of(SITE)] == [
        "The site is named laptop.",
        "The site has 2 nodes.",
        "The site has 3 GPUs.",
        "The default partition is debug.",
        "The partition debug has node01 and node02.",
        "A job in the partition debug may run for 00:30:00.",
        "The partition gpu has node02.",
        "node01 has 1 CPU.",
        "node01 has 4 GB of memory.",
        "node01 has no devices.",
        "node01 is in debug.",
        "node02 has 4 CPUs.",
        "node02 has 8 GB of memory.",
        "node02 has 2 a100 and 1 h100.",
        "node02 is in debug and gpu.",
        "mlflow listens on port 18500.",
    ]


def test_no_wording_that_is_held_out_is_learnt_too(questions: ModuleType) -> None:
    facts = list(questions.facts_of(SITE))
    learnt = {question.asked for question in questions.learnt(facts)}
    held_out = {question.asked for question in questions.held_out(facts)}
    assert len(held_out) == 2 * len(facts)
    assert not learnt & held_out
    for wordings in questions.WORDINGS.values():
        assert not set(wordings.learnt) & set(wordings.held_out)


def test_a_question_has_one_answer(questions: ModuleType) -> None:
    facts = list(questions.facts_of(SITE))
    asked = [*questions.learnt(facts), *questions.held_out(facts)]
    assert len({question.asked for question in asked}) == len(asked)


def test_a_name_at_the_start_keeps_its_spelling(questions: ModuleType) -> None:
    asked = {question.asked for question in questions.learnt(list(questions.facts_of(SITE)))}
    assert "node01 has how many CPUs?" in asked
    assert "How many CPUs does node01 have?" in asked


def base_model(folder: Path, words: str = "<|im_start|>") -> Path:
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text(json.dumps({"added_tokens": [{"content": words}]}))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"chat_template": "another", "eos_token": "</s>"})
    )
    return folder


def run(prepare: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *arguments: str) -> Path:
    (tmp_path / "facts.json").write_text(json.dumps(SITE))
    monkeypatch.setenv("AI_HOW_FACTS", str(tmp_path / "facts.json"))
    monkeypatch.setenv("AI_HOW_OUTPUT_DIR", str(tmp_path / "out"))
    monkeypatch.setenv("AI_HOW_CHECKPOINT_DIR", str(tmp_path / "kept"))
    monkeypatch.setattr("sys.argv", ["prepare.py", *arguments])
    prepare.main()
    return tmp_path / "out" / "prepared"


def test_a_model_given_by_its_folder_is_fine_tuned_by_the_same_recipe(
    prepare: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    base = base_model(tmp_path / "smollm")
    prepared = run(prepare, monkeypatch, tmp_path, "--model", str(base), "--batch-size", "16")
    config = yaml.safe_load((prepared / "config.yaml").read_text())
    assert config["model"]["model_name"] == str(prepared / "base")
    assert config["model"]["load_pretrained_weights"] is True
    assert config["training"]["output_dir"] == str(tmp_path / "kept" / "oumi")
    assert config["training"]["learning_rate"] == 2e-4
    assert config["training"]["num_train_epochs"] == 8
    assert (prepared / "base" / "config.json").resolve() == base / "config.json"
    settings = json.loads((prepared / "base" / "tokenizer_config.json").read_text())
    assert settings == {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}
    lines = (prepared / "train.jsonl").read_text().splitlines()
    assert [turn["role"] for turn in json.loads(lines[0])["messages"]] == ["user", "assistant"]
    assert (prepared / "exam" / "learnt.jsonl").read_text().splitlines() == lines


def test_few_facts_are_learnt_in_more_epochs(
    prepare: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    base = base_model(tmp_path / "smollm")
    arguments = ("--model", str(base), "--batch-size", "1000", "--min-steps", "30")
    prepared = run(prepare, monkeypatch, tmp_path, *arguments)
    assert yaml.safe_load((prepared / "config.yaml").read_text())["training"]["num_train_epochs"] == 30


def test_what_was_prepared_before_a_requeue_is_kept(
    prepare: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    base = base_model(tmp_path / "smollm")
    prepared = run(prepare, monkeypatch, tmp_path, "--model", str(base))
    (prepared / "train.jsonl").write_text("as it was\n")
    run(prepare, monkeypatch, tmp_path, "--model", str(base))
    assert (prepared / "train.jsonl").read_text() == "as it was\n"


def test_a_tokenizer_without_turns_is_refused(
    prepare: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    base = base_model(tmp_path / "other", words="<s>")
    with pytest.raises(SystemExit, match="does not know <|im_start|>"):
        run(prepare, monkeypatch, tmp_path, "--model", str(base))
    assert not (tmp_path / "out" / "prepared" / "config.yaml").exists()
