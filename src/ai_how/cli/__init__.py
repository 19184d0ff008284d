"""The command line: one module a command; arguments in, one room called, exit code out.

The table below holds only names and one line each, so that ``--help`` imports nothing else.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

from ai_how import __version__
from ai_how.cli import streams
from ai_how.errors import AiHowError

#: Commands by group, in the order of ``--help``: name, one line. The module has the command's name.
COMMANDS: dict[str, dict[str, str]] = {
    "the file": {
        "init": "write a cluster.yaml to start from",
        "validate": "check cluster.yaml, every mistake at once; --fix repairs it",
        "explain": "say what a key means, what it may be, and where its value comes from",
        "diff": "compare two files by meaning, and say what up would do about it",
        "merge": "lay one file over another; say where each value comes from",
        "migrate": "carry a file of an older version over to the current one",
        "schema": "print the JSON Schema of cluster.yaml, for editors",
        "doctor": "check what the providers need, and show what this machine has",
    },
    "the site": {
        "plan": "show what up would do, and why",
        "up": "bring the site to what its file asks",
        "status": "show how the site is",
        "down": "stop every process of the site; its data stay",
        "destroy": "stop the site and remove its folder, data and all",
        "shell": "a shell, or a command, that talks to this site's Slurm",
    },
    "GPUs": {
        "gpu": "show, plan and cut the GPUs that the file names",
    },
    "jobs and models": {
        "train": "run a training recipe as a Slurm job",
        "finetune": "run a fine-tuning recipe as a Slurm job",
        "evaluate": "run an evaluation recipe as a Slurm job",
        "jobs": "list, show, follow and cancel jobs",
        "models": "list, show, register, promote and convert models",
    },
    "serving": {
        "serve": "serve a model as a Slurm job behind the gateway",
        "ps": "list the replicas",
        "stop": "stop serving a model",
        "chat": "talk to a served model",
        "connect": "have a model ready, and give clients what they need to ask it",
        "token": "make, list and end tokens that open the gateway",
        "usage": "show who used which model, and the GPU-hours of it",
    },
    "measuring": {
        "bench": "measure a service under load, and compare two results",
    },
    "the project": {
        "demo": "see all of it once: train, fine-tune, register, serve, ask",
        "test": "run the project's checks and tests",
    },
}
EXIT_INTERRUPTED = 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line. Returns the exit code; the one place where errors are caught."""
    words = list(sys.argv[1:] if argv is None else argv)
    streams.open_closed()
    try:
        code = _dispatch(words)
        # What is still in the buffer meets a closed pipe here, not while the interpreter ends.
        sys.stdout.flush()
        return code
    except AiHowError as error:
        from ai_how.cli.output import print_error

        print_error(error, as_json="--json" in words)
        return error.exit_code
    except KeyboardInterrupt:
        print("ai-how: interrupted", file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader (`head`, a pager) has seen enough.
        return 0
    except Exception as error:  # noqa: BLE001 - the one catch at the top: nobody is shown a traceback
        from ai_how.cli.output import print_error, unexpected

        failure = unexpected(error)
        print_error(failure, as_json="--json" in words)
        return failure.exit_code
    finally:
        streams.flush_all()


def _dispatch(words: list[str]) -> int:
    names = [name for group in COMMANDS.values() for name in group]
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if words[0] in ("-V", "--version"):
        print(f"ai-how {__version__}")
        return 0
    if words[0] not in names:
        import difflib

        close = difflib.get_close_matches(words[0], names, n=1)
        hint = f"; did you mean '{close[0]}'?" if close else ""
        print(f"ai-how: there is no command '{words[0]}'{hint}\n`ai-how --help` lists them.", file=sys.stderr)
        return 2
    module = importlib.import_module(f"ai_how.cli.{words[0]}")
    parser = argparse.ArgumentParser(prog=f"ai-how {words[0]}", description=module.__doc__)
    module.arguments(parser)
    code: int = module.run(parser.parse_args(words[1:]))
    return code


def _overview() -> str:
    lines = [
        "ai-how: one file, one command, a working AI factory on any Linux machine",
        "",
        "usage: ai-how COMMAND [options]      `ai-how COMMAND --help` tells more",
    ]
    for group, commands in COMMANDS.items():
        lines += ["", f"{group}:"]
        lines += [f"  {name:<10} {line}" for name, line in commands.items()]
    lines += ["", "New here? `ai-how demo` shows all of it in a few minutes."]
    return "\n".join(lines)
