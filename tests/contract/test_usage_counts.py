"""What the gateway's processes count is all there once they have ended, whatever clients spoke."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx
from door import opened
from doubles import FakeEngine
from launched import start
from tiny_gguf import write_tiny_gguf

from ai_how.security import Grant, create_token
from ai_how.serving.engines import Place
from ai_how.serving.gateway.usage import read_usage

SAID = [{"role": "user", "content": "hi"}]


def test_nothing_is_lost_at_the_end(tmp_path: Path) -> None:
    """Two workers, which are told to end right after the last answer."""
    running = start(
        FakeEngine(), Place.of_python(Path(sys.executable)), write_tiny_gguf(tmp_path / "tiny.gguf"), tmp_path
    )
    running.record()
    ada = create_token(tmp_path / "more.json", "ada", Grant(owner="Ada", tokens_in_all=10**6))
    files = {"usage": "usage.db", "ledger": "ledger", "tokens": "more.json"}
    try:
        with opened(
            tmp_path, workers=2, **{key: str(tmp_path / name) for key, name in files.items()}
        ) as door:
            headers = {"authorization": f"Bearer {ada}"}
            used = 0
            for _ in range(20):
                # A connection each, so that both workers are asked.
                body = {"model": "tiny", "messages": SAID}
                answer = httpx.post(
                    f"{door.url}/v1/chat/completions", headers=headers, json=body, trust_env=False
                )
                used += answer.json()["usage"]["total_tokens"]
            for path in ("/v1/chat/completions", "/api/chat"):
                body = {"model": "tiny", "messages": SAID, "stream": True}
                answer = httpx.post(f"{door.url}{path}", headers=headers, json=body, trust_env=False)
                assert answer.status_code == 200
    finally:
        running.end()
    rows = read_usage(tmp_path / "usage.db", 0, 2e9)
    assert {(row.token, row.owner, row.model, row.job) for row in rows} == {("ada", "Ada", "tiny", "42")}
    assert sum(row.requests for row in rows) == 22 and sum(row.failed for row in rows) == 0
    streamed = sum(row.prompt + row.completion for row in rows) - used
    assert used > 0 and streamed > 0
