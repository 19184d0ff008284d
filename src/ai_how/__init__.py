"""AI-HOW: one file, one command, a working AI factory on any Linux machine."""

__version__ = "0.1.0"
