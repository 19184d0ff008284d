"""Slurm's notation for durations."""

from __future__ import annotations

import pytest

from ai_how.spec import walltime


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 1800), ("10:30", 630), ("01:00:00", 3600), ("1-0", 86400), ("1-12", 129600),
        ("2-01:30", 178200), ("1-00:00:01", 86401),
    ],
)  # fmt: skip
def test_every_form_of_sbatch(text: str, seconds: int) -> None:
    assert walltime.seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "1:2:3:4", "-5", "1-", "1.5", "1h"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        walltime.seconds(text)


@pytest.mark.parametrize("total", [0, 59, 3600, 86399, 86400, 200000])
def test_what_is_rendered_is_read_again(total: int) -> None:
    assert walltime.seconds(walltime.render(total)) == total
