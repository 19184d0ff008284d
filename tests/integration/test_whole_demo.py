"""``ai-how demo``: everything once, within the bounds that the project promises. It runs last and longest."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from live_site import LiveSite

SET_UP, AFTER = 120.0, 150.0  # seconds, on two cores


@pytest.mark.slow
def test_the_demo_keeps_its_promises(new_site: Callable[[str], LiveSite], tmp_path: Path) -> None:
    site = new_site("demo")
    report = tmp_path / "report.html"
    facts = json.loads(
        site.run("demo", "--json", "--report", str(report), timeout=SET_UP + AFTER + 20).stdout
    )

    assert facts["setup_seconds"] <= SET_UP and facts["after_setup_seconds"] <= AFTER
    assert len(facts["phases"]) >= 8 and all(phase["seconds"] >= 0 for phase in facts["phases"])
    assert facts["train"]["accuracy"] >= 0.95 and facts["train"]["nodes"] == 2
    assert facts["train"]["job_id"] > 0 and re.fullmatch("[0-9a-f]{32}", facts["train"]["run_id"])
    assert facts["finetune"]["loss_last"] <= facts["finetune"]["loss_first"] / 10
    assert facts["finetune"]["exact_match"] >= 0.9
    assert facts["model"]["name"] == "site-facts" and facts["model"]["version"] == 1
    assert len(facts["answers"]) >= 5
    assert (
        sum(answer["answered"] == answer["expected"] for answer in facts["answers"])
        >= len(facts["answers"]) - 1
    )

    assert facts["report"] == str(report)
    _is_self_contained(report.read_text(encoding="utf-8"))
    assert site.processes() == {}
    assert (site.root / "data").is_dir()  # its data stay


def _is_self_contained(page: str) -> None:
    assert page.lstrip().lower().startswith("<!doctype html>") and page.rstrip().endswith("</html>")
    assert not re.findall(r"<(?:script|img|link|iframe)[^>]*\s(?:src|href)=[\"'](?!data:|#)", page)
    assert not re.findall(r"@import|url\((?![\"']?(?:data:|#))", page)
    assert "site-facts" in page and "digits" in page
