"""What a recipe's environment names is looked for before the job is submitted."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ai_how.errors import NotFound, UsageError
from ai_how.run import LocalGate
from ai_how.site.runtimes import refuse_absent_image, refuse_absent_path

HERE: Any = SimpleNamespace(reach=None)
#: A cluster elsewhere whose login node is this machine.
THERE: Any = SimpleNamespace(reach=SimpleNamespace(gate=LocalGate()))
WHERE = "recipe.yaml: environment"


@pytest.mark.parametrize("site", [HERE, THERE])
def test_a_path_must_hold_python(site: Any, tmp_path: Path) -> None:
    refuse_absent_path(site, sys.prefix, WHERE)
    with pytest.raises(NotFound, match=r"has no bin/python") as caught:
        refuse_absent_path(site, str(tmp_path), WHERE)
    assert caught.value.where == WHERE and f"{tmp_path}/bin/python" in str(caught.value.cause)
    with pytest.raises(UsageError, match="no absolute path"):
        refuse_absent_path(site, "venvs/mine", WHERE)


def test_a_python_that_nobody_may_run_is_none(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text("")
    with pytest.raises(NotFound, match=r"has no bin/python"):
        refuse_absent_path(HERE, str(tmp_path), WHERE)


def test_what_only_the_nodes_may_have_is_left_to_the_job(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    refuse_absent_path(THERE, gone, WHERE)
    refuse_absent_image(THERE, gone, WHERE)
    with pytest.raises(NotFound, match="there is no environment"):
        refuse_absent_path(HERE, gone, WHERE)
    with pytest.raises(NotFound, match="there is no image"):
        refuse_absent_image(HERE, gone, WHERE)


def test_an_image_is_a_file_or_a_folder_or_of_a_registry(tmp_path: Path) -> None:
    (tmp_path / "a.sif").write_text("")
    for image in (str(tmp_path / "a.sif"), str(tmp_path), "docker://debian:12"):
        refuse_absent_image(HERE, image, WHERE)
    with pytest.raises(UsageError, match="no absolute path"):
        refuse_absent_image(HERE, "a.sif", WHERE)
