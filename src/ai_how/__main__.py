"""``python -m ai_how``: the launcher comes in here."""

from ai_how.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
