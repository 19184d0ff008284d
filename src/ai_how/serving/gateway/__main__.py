"""``python -m ai_how.serving.gateway --config <file>``: the gateway as a process of its own."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

from ai_how.errors import AiHowError
from ai_how.serving.gateway.accesslog import JsonLines
from ai_how.serving.gateway.control import load_config, run_gateway


def main() -> int:
    parser = argparse.ArgumentParser(prog="ai-how-gateway", description="The gateway of a site.")
    parser.add_argument("--config", type=Path, required=True, help="the configuration file, JSON")
    parser.add_argument("--check", action="store_true", help="read the configuration and end")
    asked = parser.parse_args()
    lines = logging.StreamHandler()
    lines.setFormatter(JsonLines())
    logging.basicConfig(level=logging.INFO, handlers=[lines])
    try:
        config = load_config(asked.config)
        if not asked.check:
            run_gateway(config)
    except AiHowError as error:
        for label, text in (
            ("error", error.message),
            ("where", error.where),
            ("detail", error.detail),
            ("cause", error.cause),
            ("todo", error.todo),
        ):
            if text:
                print(f"{label}: {text}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
