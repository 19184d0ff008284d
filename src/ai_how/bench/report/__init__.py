"""The report of benchmarks: results in, one HTML file that loads nothing out. Pure, but for its style sheet."""

from ai_how.bench.report.render import html

__all__ = ["html"]
