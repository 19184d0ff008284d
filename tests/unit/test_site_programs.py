"""What the site's programs need where they were unpacked into the user's own folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_how.host import Toolbox
from ai_how.host.model import Found
from ai_how.run.fake import ScriptedGate
from ai_how.site import open_site
from ai_how.spec.template import laptop


def test_jobs_get_slurms_commands_and_libraries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(self: Toolbox, name: str) -> Found:
        libraries = {"LD_LIBRARY_PATH": str(tmp_path / "usr/lib")}
        return Found(name, tmp_path / "usr/bin" / name, "24.11.5", "unpacked", libraries, tmp_path)

    monkeypatch.setattr(Toolbox, "find", find)
    monkeypatch.setenv("AI_HOW_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PATH", "/my/own:/usr/bin:/bin")
    file = tmp_path / "cluster.yaml"
    file.write_text(laptop())
    gate = ScriptedGate([(["sbatch"], (0, "1\n", ""))])
    assert open_site(file, gate=gate).slurm.submit("#!/bin/sh\n", "x", tmp_path) == 1
    env = gate.commands[-1].env
    assert env["PATH"] == f"/my/own:/usr/bin:/bin:{tmp_path}/usr/bin"
    assert env["LD_LIBRARY_PATH"] == f"{tmp_path}/usr/lib"
