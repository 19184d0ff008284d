"""The batch script of a recipe. Pure: golden files hold every line."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path

from ai_how.jobs.model import Submission
from ai_how.jobs.run_files import folders
from ai_how.slurm.batch import MEETING, meeting, sbatch_option
from ai_how.slurm.images import APPTAINER, finding_apptainer
from ai_how.slurm.modules import loading
from ai_how.spec.recipe import Argument

#: The word for "save, leave, and come back", agreed with ``ai_how_job.notice``.
MARKER = "requeue"
#: Where a run is written into files, for somebody to bring over.
IN_FILES = "file://"
#: Seconds before the notice is passed on to the step, again and again until it has ended.
REPEAT = 3


def batch_script(submission: Submission) -> str:
    """The script that sbatch is given.

    Slurm tells it of the coming time limit by USR1; it passes that on to the job's processes, waits until they
    have saved their work and left, and has the job requeued. Raises :class:`AiHowError` for a value that cannot stand
    in a batch script.
    """
    return "\n".join(
        [
            "#!/bin/bash",
            *_options(submission),
            "",
            *loading(submission.recipe.environment.modules),
            *(finding_apptainer() if submission.recipe.environment.image else ()),
            "set -u",
            "umask 077",
            *_environment(submission),
            "",
            *_steps(submission),
            "",
        ]
    )


def _options(submission: Submission) -> Iterator[str]:
    resources = submission.recipe.resources
    options = {
        "job-name": submission.recipe.name,
        "nodes": resources.nodes,
        "ntasks-per-node": 1 if submission.recipe.kind == "train" else resources.tasks_per_node,
        "cpus-per-task": resources.cpus_per_task
        * (resources.tasks_per_node if submission.recipe.kind == "train" else 1),
        "mem": resources.memory,
        "gres": resources.gres,
        "time": resources.time_limit,
        "partition": resources.partition,
        "chdir": submission.folder.scripts,
        "output": submission.log,
        "open-mode": "append",
        "signal": f"B:USR1@{submission.recipe.notice}",
    }
    for name, value in options.items():
        if value is not None:
            yield sbatch_option(name, str(value))
    yield "#SBATCH --requeue"


def _environment(submission: Submission) -> Iterator[str]:
    folder, modules = submission.folder, submission.recipe.environment.modules
    tracked = {"MLFLOW_TRACKING_URI": submission.tracking_uri, "MLFLOW_RUN_ID": submission.run_id}
    if submission.tracking_uri.startswith(IN_FILES):
        # MLflow's own client refuses to write into files otherwise, since its version 3.
        tracked["MLFLOW_ALLOW_FILE_STORE"] = "true"
    variables = {
        **(tracked if submission.run_id else {}),
        "AI_HOW_OUTPUT_DIR": folder.output,
        "AI_HOW_CHECKPOINT_DIR": folder.checkpoint,
        "AI_HOW_FACTS": folder.facts,
        "PYTHONPATH": folder.scripts,
        "PYTHONUNBUFFERED": 1,
        "OMP_NUM_THREADS": submission.recipe.resources.cpus_per_task,
        # Emulated nodes share their CPUs: threads that spin while they wait take them from each other, and a
        # fine-tuning beside other work takes ten times as long.
        "OMP_WAIT_POLICY": "PASSIVE",
        "NO_PROXY": "127.0.0.1,localhost",
        "no_proxy": "127.0.0.1,localhost",
        "DO_NOT_TRACK": 1,
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "HF_HUB_DISABLE_TELEMETRY": 1,
    }
    for name, value in variables.items():
        # Modules bring packages of Python's by this variable, too.
        more = '"${PYTHONPATH:+:$PYTHONPATH}"' if name == "PYTHONPATH" and modules else ""
        yield f"export {name}={shlex.quote(str(value))}{more}"


def _steps(submission: Submission) -> Iterator[str]:
    yield "# Heard from here on: before there is a step, the notice is kept for it."
    yield "told="
    yield "trap 'told=1' USR1"
    yield 'mkdir -p "$AI_HOW_OUTPUT_DIR" "$AI_HOW_CHECKPOINT_DIR"'
    if submission.run_id and submission.tracking_uri.startswith(IN_FILES):
        root = Path(submission.tracking_uri.removeprefix(IN_FILES))
        yield f"mkdir -p {shlex.join(map(str, folders(root, submission.run_id)))}"
    yield f'echo "$SLURM_JOB_ID" >{shlex.quote(str(submission.folder.path / "job_id"))}'
    ended = shlex.quote(str(submission.folder.ended))
    yield f'rm -f "$AI_HOW_CHECKPOINT_DIR/{MARKER}" {ended}'
    yield "# What the job's programs put aside goes with it; a former life that was killed may have left some."
    yield f"export TMPDIR={shlex.quote(str(submission.folder.aside))}"
    yield 'rm -rf "$TMPDIR"; mkdir -m 700 "$TMPDIR" || exit'
    at_end = f'rm -rf "$TMPDIR"; touch {ended}'
    yield f"trap {shlex.quote(at_end)} EXIT"
    match submission.recipe.kind:
        case "train":
            yield from _train(submission)
        case "finetune":
            yield from _finetune(submission)
        case "evaluate":
            script = submission.recipe.script or ""
            yield from _step(_python(submission, script, *_words(submission.arguments)))
    yield f'if [ -e "$AI_HOW_CHECKPOINT_DIR/{MARKER}" ]; then'
    yield '    scontrol requeue "$SLURM_JOB_ID" || exit'
    yield "    exit 0"
    yield "fi"
    yield 'exit "$status"'


def _train(submission: Submission) -> Iterator[str]:
    """One torchrun a node."""
    yield from meeting(_python(submission))
    resources = submission.recipe.resources
    torchrun = _python(
        submission, "-m", "ai_how_job.torchrun", f"--nnodes={resources.nodes}",
        f"--nproc-per-node={resources.tasks_per_node}",
    )  # fmt: skip
    script = shlex.join([submission.recipe.script or "", *_words(submission.arguments)])
    yield from _step(f"{torchrun} {MEETING} {script}", '"$master" "$port"')


def _finetune(submission: Submission) -> Iterator[str]:
    prepare = submission.recipe.prepare or ""
    config = '"$AI_HOW_OUTPUT_DIR/prepared/config.yaml"'
    yield f"if [ ! -e {config} ]; then"
    yield f"    {_python(submission, prepare, *_words(submission.arguments))} || exit"
    yield "fi"
    yield from _step(f"{_python(submission, '-m', 'ai_how_job.finetune')} {config}")


def _step(command: str, words: str = "") -> Iterator[str]:
    """One step in the background, so that the shell hears USR1 at once and passes it on.

    What does not know USR1 (torchrun; a script that has only just been started) must not end by it: it is ignored
    until the processes that can save their work listen for themselves. So the notice is repeated until the step ends,
    and not given before the step had the time to ignore it.
    """
    yield "pass_on() {"
    yield f'    while sleep {REPEAT}; kill -0 "$step" 2>/dev/null; do'
    yield '        scancel --signal=USR1 "$SLURM_JOB_ID"'
    yield "    done"
    yield "}"
    inner = shlex.quote(f"trap '' USR1; exec {command}")
    yield f"srun --kill-on-bad-exit=1 bash -c {inner} {words}".rstrip() + " &"
    yield "step=$!"
    yield "trap 'trap \"\" USR1; pass_on &' USR1"
    yield 'if [ -n "$told" ]; then kill -USR1 $$; fi'
    yield "# `wait` returns when the signal comes, too; the step has ended when it is gone."
    yield 'while wait "$step"; status=$?; kill -0 "$step" 2>/dev/null; do :; done'


def _python(submission: Submission, *words: str) -> str:
    image = submission.recipe.environment.image
    if image is None:
        return shlex.join([submission.python, *words])
    nv = ["--nv"] if submission.recipe.resources.gpus_per_node else []
    share = submission.folder.path.parent.parent
    binds = [word for path in (str(share), *submission.binds) for word in ("--bind", path)]
    return f'"${APPTAINER}" {shlex.join(["exec", *nv, *binds, image, "python3", *words])}'


def _words(arguments: Mapping[str, Argument]) -> list[str]:
    """``{epochs: 3, amp: true}`` as ``--epochs 3 --amp``; false leaves the flag out."""
    words: list[str] = []
    for name, value in arguments.items():
        if value is False:
            continue
        words.append(f"--{name}")
        if value is not True:
            words.append(str(value))
    return words
