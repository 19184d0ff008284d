"""Make what the fine-tuning needs: questions about the site, a tokenizer, a base model, and Oumi's configuration.

Without `--model` the base model is a small Llama whose weights start at random, with a tokenizer trained on the
questions: nothing is downloaded. It needs neither PyTorch nor transformers, whose import takes longer than the work.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml
from ai_how_job import notice
from questions import Question, facts_of, held_out, learnt

END, START, PAD = "<|im_end|>", "<|im_start|>", "<|endoftext|>"
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


def write_json(path: Path, content: object) -> None:
    """Write a JSON file."""
    path.write_text(json.dumps(content, indent=2) + "\n")


def write_questions(path: Path, questions: Iterable[Question]) -> None:
    """Write questions as the conversations that Oumi reads, one a line."""
    with path.open("w") as lines:
        for question in questions:
            turns = {"user": question.asked, "assistant": question.answer}
            messages = [{"role": role, "content": content} for role, content in turns.items()]
            lines.write(json.dumps({"messages": messages}) + "\n")


def train_tokenizer(texts: Iterable[str], vocabulary: int) -> Any:
    """A byte-level BPE tokenizer that splits text as GPT-2's does, which every GGUF reader knows."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[PAD, START, END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def write_small_llama(folder: Path, texts: Iterable[str], options: argparse.Namespace) -> None:
    """Write a Llama's configuration and its tokenizer; Oumi makes the weights."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = train_tokenizer(texts, options.vocabulary)
    tokenizer.save(str(folder / "tokenizer.json"))
    ids = {
        "bos_token_id": None,
        "eos_token_id": tokenizer.token_to_id(END),
        "pad_token_id": tokenizer.token_to_id(PAD),
    }
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    write_json(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "eos_token": END,
            "pad_token": PAD,
            "model_max_length": 256,
            "clean_up_tokenization_spaces": False,
        },
    )
    write_json(folder / "generation_config.json", {**ids, "do_sample": False, "max_new_tokens": 48})
    write_json(
        folder / "config.json",
        {
            "architectures": ["LlamaForCausalLM"],
            "model_type": "llama",
            "vocab_size": tokenizer.get_vocab_size(),
            "hidden_size": options.hidden,
            "intermediate_size": 3 * options.hidden,
            "num_hidden_layers": options.layers,
            "num_attention_heads": options.hidden // 32,
            "num_key_value_heads": options.hidden // 32,
            "max_position_embeddings": 256,
            "tie_word_embeddings": True,
            "torch_dtype": "float32",
            **ids,
        },
    )


def link_model(name: str, folder: Path) -> None:
    """Bring a model's files here, its tokenizer set to speak in turns marked by START and END."""
    source = Path(name) if Path(name).is_dir() else download(name)
    if START not in (source / "tokenizer.json").read_text():
        raise SystemExit(
            f"{name}: its tokenizer does not know {START}, which marks the turns of a conversation"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        if file.is_file() and file.name not in ("chat_template.jinja", "tokenizer_config.json"):
            (folder / file.name).unlink(missing_ok=True)
            (folder / file.name).symlink_to(file.resolve())
    (folder / "chat_template.jinja").write_text(CHAT_TEMPLATE)
    settings = json.loads((source / "tokenizer_config.json").read_text())
    settings.pop("chat_template", None)
    write_json(folder / "tokenizer_config.json", {**settings, "eos_token": END, "pad_token": PAD})


def download(name: str) -> Path:
    """The folder of a model of Hugging Face's hub, downloaded unless it is in the cache already."""
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.txt"]))
    except (OSError, ValueError) as error:  # what the hub's client and the network below it raise
        raise SystemExit(
            f"{name}: its weights are neither in Hugging Face's cache here nor in reach: {error}\n"
            "Give --model a folder that holds them, or leave it out for a small Llama made here."
        ) from error


def write_config(prepared: Path, questions: int, options: argparse.Namespace) -> None:
    """Fill in Oumi's configuration."""
    config = yaml.safe_load(Path(__file__).with_name("oumi.yaml").read_text())
    config["model"] |= {"model_name": str(prepared / "base"), "load_pretrained_weights": bool(options.model)}
    config["data"]["train"]["datasets"][0]["dataset_path"] = str(prepared / "train.jsonl")
    kept = notice.checkpoint_folder() or prepared
    steps = math.ceil(questions / options.batch_size)
    config["training"] |= {
        "output_dir": str(kept / "oumi"),
        "num_train_epochs": max(options.epochs, math.ceil(options.min_steps / steps)),
        "per_device_train_batch_size": options.batch_size,
        "learning_rate": options.learning_rate or (2e-4 if options.model else 2e-3),
        "save_steps": options.save_steps,
    }
    (prepared / "config.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def arguments() -> argparse.Namespace:
    """The arguments of the recipe."""
    parser = argparse.ArgumentParser(description=__doc__)
    facts = os.environ.get("AI_HOW_FACTS")
    parser.add_argument("--facts", type=Path, default=facts, help="JSON file about the site")
    parser.add_argument(
        "--model", help="base model: a folder or a name at Hugging Face; else a new small Llama"
    )
    parser.add_argument("--epochs", type=int, default=8, help="at least so many")
    parser.add_argument("--min-steps", type=int, default=170, help="more epochs where they make fewer steps")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--learning-rate", type=float, help="default: 2e-3 for a new model, else 2e-4")
    parser.add_argument("--save-steps", type=int, default=100, help="steps between two checkpoints")
    parser.add_argument("--vocabulary", type=int, default=640, help="of the small Llama's tokenizer")
    parser.add_argument("--hidden", type=int, default=128, help="width of the small Llama; a multiple of 32")
    parser.add_argument("--layers", type=int, default=3, help="depth of the small Llama")
    options = parser.parse_args()
    if options.facts is None:
        parser.error("AI_HOW_FACTS is not set and --facts is not given")
    return options


def main() -> None:
    """Prepare everything in the folder `prepared` of the job's output, unless it was done before a requeue."""
    options = arguments()
    prepared = notice.output_folder().resolve() / "prepared"
    if (prepared / "config.yaml").exists():  # written last
        return
    facts = list(facts_of(json.loads(options.facts.read_text())))
    questions = learnt(facts)
    (prepared / "exam").mkdir(parents=True, exist_ok=True)
    write_questions(prepared / "train.jsonl", questions)
    write_questions(prepared / "exam" / "learnt.jsonl", questions)
    write_questions(prepared / "exam" / "paraphrases.jsonl", held_out(facts))
    if options.model:
        link_model(options.model, prepared / "base")
    else:
        texts = [f"{START}user\n{q.asked}{END}\n{START}assistant\n{q.answer}{END}\n" for q in questions]
        write_small_llama(prepared / "base", texts, options)
    write_config(prepared, len(questions), options)
    print(f"{len(facts)} facts, {len(questions)} questions to learn from, in {prepared}", flush=True)


if __name__ == "__main__":
    main()
