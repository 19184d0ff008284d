"""A supervisord that does not answer is told of, and not waited for without end."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ai_how.errors import CouldNotTell
from ai_how.providers.local import supervisor


def test_a_supervisord_that_was_stopped_is_told_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "ANSWER_SECONDS", 0.2)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "sock"))
        silent.listen()
        with pytest.raises(CouldNotTell, match=r"did not answer within 0\.2 s"):
            supervisor.Supervisor(tmp_path / "sock").pid()
