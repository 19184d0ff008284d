"""The survey: every shipped recipe is one that is there, and a figure that failed its verdict is struck through."""

from __future__ import annotations

from pathlib import Path

from ai_how.bench import survey
from ai_how.spec.bench import parse_bench

ROOT = Path(__file__).parents[2]


def test_every_offer_has_its_recipe() -> None:
    for offer in survey.OFFERS:
        if offer.recipe:
            path = ROOT / "examples" / "bench" / f"{offer.recipe}.yaml"
            assert parse_bench(path.read_text(encoding="utf-8"), path.name).name == offer.recipe


def test_what_was_not_measured_is_said() -> None:
    assert survey.page({}).count("not yet") == len(survey.OFFERS)
    assert "Nothing was measured yet" in survey.page({})


def test_a_figure_that_failed_is_struck_through() -> None:
    figures = [
        {"name": "ingest", "value": 1234.5, "unit": "vectors/s", "ok": True},
        {"name": "recall.ef=32", "value": 0.987, "unit": "share", "ok": False},
    ]
    kept = {"command": "ai-how bench run x", "when": "2026-01-01", "commit": None, "figures": figures}
    page = survey.page({"vectors-faiss": kept})
    assert "ingest 1,234 vectors/s; <s>recall.ef=32 0.987 share</s>" in page
    assert "| `vectors-faiss.yaml` | `ai-how bench run x` | 2026-01-01 | `unknown` |" in page
