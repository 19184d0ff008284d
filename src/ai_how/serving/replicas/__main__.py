"""``python -m ai_how.serving.replicas --config <file>``: the reconciler as a process of its own."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from ai_how.errors import AiHowError
from ai_how.serving.replicas.service import load_config, serve


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="ai-how-reconciler", description="Keeps the replicas of a site as they are wanted."
    )
    parser.add_argument("--config", type=Path, required=True, help="the configuration file, JSON")
    asked = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        serve(load_config(asked.config))
    except AiHowError as error:
        for label in ("message", "where", "detail", "cause", "todo"):
            if text := getattr(error, label):
                print(f"{'error' if label == 'message' else label}: {text}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
