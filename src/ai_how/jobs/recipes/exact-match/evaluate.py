"""Ask a language model the questions of its exam and count the answers that are exactly right.

The exam lies in the model's folder `exam`, one file a set of questions: one conversation a line.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

import torch
from ai_how_job import notice
from ai_how_job.tracking import Run

Pair = tuple[str, str]
"""A question and its answer."""


def read_exam(file: Path) -> list[Pair]:
    """The questions and answers of one set."""
    turns = [json.loads(line)["messages"] for line in file.read_text().splitlines()]
    return [(question["content"], answer["content"]) for question, answer in turns]


class Examinee:
    """A model that answers many questions at once, greedily."""

    def __init__(self, folder: Path, new_tokens: int) -> None:
        os.environ.setdefault("HF_HUB_OFFLINE", "1")  # the model lies here; read when the next line imports
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar

        disable_progress_bar()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self._model: Any = AutoModelForCausalLM.from_pretrained(folder).to(device).eval()
        self._new_tokens = new_tokens

    @torch.inference_mode()
    def answer(self, questions: list[str]) -> list[str]:
        """The answers to a batch of questions."""
        chats = [[{"role": "user", "content": question}] for question in questions]
        texts = self._tokenizer.apply_chat_template(chats, add_generation_prompt=True, tokenize=False)
        tokens = self._tokenizer(texts, return_tensors="pt", padding=True, add_special_tokens=False)
        tokens = {name: tokens[name].to(self._model.device) for name in ("input_ids", "attention_mask")}
        said = self._model.generate(**tokens, do_sample=False, max_new_tokens=self._new_tokens)
        rest = said[:, tokens["input_ids"].shape[1] :]
        return [text.strip() for text in self._tokenizer.batch_decode(rest, skip_special_tokens=True)]


def examine(examinee: Examinee, exam: list[Pair], batch: int) -> list[dict[str, object]]:
    """Every question with what was answered and what was expected."""
    exam = sorted(exam, key=lambda pair: len(pair[0]))  # batches of like lengths hold little padding
    answered: list[str] = []
    for at in range(0, len(exam), batch):
        answered += examinee.answer([question for question, _ in exam[at : at + batch]])
    return [
        {"asked": question, "answered": said, "expected": expected, "right": said == expected}
        for (question, expected), said in zip(exam, answered, strict=True)
    ]


def main() -> None:
    """Examine the model by every set of questions in its folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="folder of the model, with its exam")
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--new-tokens", type=int, default=48, help="longest answer, in tokens")
    options = parser.parse_args()
    sets = sorted((options.model / "exam").glob("*.jsonl"))
    if not sets:
        parser.error(f"{options.model} has no exam: no file exam/*.jsonl")
    run, began = Run.of_this_job(), time.perf_counter()
    examinee = Examinee(options.model, options.new_tokens)
    facts: dict[str, Any] = {}
    for file in sets:
        answers = examine(examinee, read_exam(file), options.batch_size)
        right = sum(bool(answer["right"]) for answer in answers) / len(answers)
        wrong = [answer for answer in answers if not answer["right"]]
        facts[file.stem] = {"exact_match": right, "questions": len(answers), "wrong": wrong[:20]}
        run.metrics({f"exact_match_{file.stem}": right}, step=0)
        print(f"{file.stem}: {right:.1%} of {len(answers)} answers are exactly right", flush=True)
    output = notice.output_folder() / "result.json"
    exact_match = facts.get("learnt", facts[sets[0].stem])["exact_match"]
    result = {"exact_match": exact_match, "seconds": time.perf_counter() - began, "sets": facts}
    output.write_text(json.dumps(result, indent=2) + "\n")
    run.artifact(output)
    run.close()


if __name__ == "__main__":
    main()
