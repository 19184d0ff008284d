"""`oumi train -c CONFIG` as a job: tracked while it runs, told before the time limit, resumed from its checkpoint.

    python -m ai_how_job.finetune CONFIG

The checkpoints stay in the configuration's `training.output_dir`; the finished model goes to the job's output.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from . import notice
from .tracking import Run

_MODEL_FILES = ("*.json", "*.jinja", "*.safetensors", "tokenizer*", "vocab*", "merges*")


def main(config_file: Path) -> None:
    """Train by the configuration, then write the model and the facts of the training."""
    notice.listen()
    os.environ.setdefault("HF_HUB_OFFLINE", "1")  # what was prepared lies here
    os.environ.setdefault("HF_DATASETS_CACHE", str(config_file.parent / "cache"))
    run = Run.of_this_job()
    began = time.perf_counter()
    from oumi.core.configs import TrainingConfig
    from oumi.train import train
    from transformers import trainer
    from transformers.utils.logging import disable_progress_bar

    print(f"Oumi is ready after {time.perf_counter() - began:.1f} s", flush=True)
    disable_progress_bar()
    config: Any = TrainingConfig.from_yaml(config_file)
    config.finalize_and_validate()
    told = _callback(run)
    trainer.DEFAULT_CALLBACKS.append(told)  # Oumi has no way to pass one
    run.params({"model": config.model.model_name, **_asked(config.training)})
    try:
        train(config)
        if told.leaving:
            notice.leave()
        run.artifact(
            _finish(Path(config.training.output_dir), config_file.parent, time.perf_counter() - began)
        )
    finally:
        run.close()


def _callback(run: Run) -> Any:
    from transformers import TrainerCallback

    class Told(TrainerCallback):
        """Sends what is logged to the run; saves and stops when the job is told to leave."""

        leaving = False

        def on_log(self, args: Any, state: Any, control: Any, **words: Any) -> None:
            logged = words.get("logs") or {}
            values = {key: value for key, value in logged.items() if isinstance(value, int | float)}
            run.metrics(values, step=state.global_step)

        def on_step_end(self, args: Any, state: Any, control: Any, **words: Any) -> None:
            if notice.given() and state.global_step < state.max_steps:
                self.leaving = control.should_save = control.should_training_stop = True

    return Told()


def _asked(training: Any) -> dict[str, object]:
    names = ("num_train_epochs", "per_device_train_batch_size", "learning_rate", "lr_scheduler_type", "seed")
    return {name: getattr(training, name) for name in names}


def _finish(trained: Path, prepared: Path, seconds: float) -> Path:
    """Copy the finished model and its exam to the job's output; the file with the facts of the training."""
    output = notice.output_folder()
    model = output / "model"
    model.mkdir(exist_ok=True)
    for pattern in _MODEL_FILES:
        for file in trained.glob(pattern):
            if file.name != "trainer_state.json":
                shutil.copyfile(file, model / file.name)
    shutil.copytree(prepared / "exam", model / "exam", dirs_exist_ok=True)
    state = json.loads((trained / "trainer_state.json").read_text())
    history = [
        {"step": entry["step"], "loss": entry["loss"]} for entry in state["log_history"] if "loss" in entry
    ]
    facts = {
        "loss_first": history[0]["loss"],
        "loss_last": history[-1]["loss"],
        "steps": state["global_step"],
    }
    result = output / "result.json"
    result.write_text(json.dumps({**facts, "seconds": seconds, "history": history}, indent=2) + "\n")
    return result


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
