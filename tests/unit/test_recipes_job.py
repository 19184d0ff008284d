"""What scripts use inside a job, with the standard library alone: the notice and the tracking."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ai_how.jobs.recipes.ai_how_job import notice, tracking
from ai_how.jobs.recipes.ai_how_job.tracking import Run
from ai_how.run import wait_until

RECIPES = Path(notice.__file__).parents[1]


def test_a_script_that_was_told_leaves_with_the_requeue_code(tmp_path: Path) -> None:
    script = (
        "import os, signal\n"
        "from ai_how_job import notice\n"
        "notice.listen()\n"
        "assert not notice.given()\n"
        "assert not os.path.exists(os.environ['AI_HOW_CHECKPOINT_DIR'] + '/requeue')\n"
        "os.kill(os.getpid(), signal.SIGUSR1)\n"
        "if notice.given():\n"
        "    notice.leave()\n"
    )
    (tmp_path / notice.MARKER).touch()
    variables = {**os.environ, "PYTHONPATH": str(RECIPES), "AI_HOW_CHECKPOINT_DIR": str(tmp_path)}

    def ignored_as_in_a_batch_script() -> None:
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)

    done = subprocess.run(
        [sys.executable, "-c", script], env=variables, preexec_fn=ignored_as_in_a_batch_script, check=False
    )
    assert done.returncode == notice.EXIT_CODE == 85
    assert (tmp_path / notice.MARKER).exists()


def test_a_notice_after_the_work_is_done_ends_nobody(tmp_path: Path) -> None:
    script = (
        "import os, signal\n"
        "from ai_how_job import notice\n"
        "notice.listen()\n"
        "class Late:\n"
        "    def __del__(self, kill=os.kill, me=os.getpid(), usr1=signal.SIGUSR1):\n"
        "        kill(me, usr1)\n"
        "late = Late()\n"  # goes with its module, when Python has put its own signal handling away
    )
    variables = {**os.environ, "PYTHONPATH": str(RECIPES)}
    assert subprocess.run([sys.executable, "-c", script], env=variables, check=False).returncode == 0


def test_without_a_job_results_go_beside_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("AI_HOW_OUTPUT_DIR", raising=False)
    monkeypatch.delenv("AI_HOW_CHECKPOINT_DIR", raising=False)
    assert notice.output_folder() == Path("output")
    assert (tmp_path / "output").is_dir()
    assert notice.checkpoint_folder() is None


class Server(ThreadingHTTPServer):
    """Answers as MLflow does, and remembers what it was sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.received: list[tuple[str, str, bytes]] = []
        self.refuse = ""
        self.uri = f"http://127.0.0.1:{self.server_address[1]}"

    def batches(self, kind: str) -> list[dict[str, Any]]:
        bodies = [json.loads(body) for _, path, body in self.received if path.endswith("log-batch")]
        return [line for body in bodies for line in body.get(kind, [])]


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self._answer({"run": {"info": {"artifact_uri": "mlflow-artifacts:/3/r1/artifacts"}}})

    def do_POST(self) -> None:
        self._answer({})

    do_PUT = do_POST

    def _answer(self, content: dict[str, Any]) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.server.received.append((self.command, self.path, body))
        refused = self.server.refuse and self.server.refuse.encode() in body
        self.send_response(400 if refused else 200)
        answer = json.dumps(content).encode()
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_run_gets_parameters_metrics_and_files(server: Server, tmp_path: Path) -> None:
    (tmp_path / "result.json").write_text("{}")
    run = Run(server.uri + "/", "r1")
    run.params({"epochs": 3})
    for step in range(3):
        run.metrics({"loss": 1.0 / (step + 1)}, step=step)
    run.artifact(tmp_path / "result.json")
    run.close()
    assert server.batches("params") == [{"key": "epochs", "value": "3"}]
    assert [(line["step"], line["value"]) for line in server.batches("metrics")] == [
        (0, 1.0),
        (1, 0.5),
        (2, 1 / 3),
    ]
    put = [(path, body) for method, path, body in server.received if method == "PUT"]
    assert put == [("/api/2.0/mlflow-artifacts/artifacts/3/r1/artifacts/result.json", b"{}")]


def test_what_comes_in_quick_succession_is_sent_together(
    server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracking, "_PAUSE", 3600.0)
    run = Run(server.uri, "r1")
    run.metrics({"loss": 1.0}, step=0)
    wait_until(lambda: len(server.batches("metrics")) == 1, what="the first value, at once", timeout=60)
    for step in range(1, 40):
        run.metrics({"loss": 1.0 / (step + 1)}, step=step)
    assert len(server.received) == 1, "each request would take time from the training"
    run.hurry()
    wait_until(lambda: len(server.batches("metrics")) == 40, what="all the others, when asked", timeout=60)
    run.metrics({"loss": 0.0}, step=40)
    run.close()
    assert [line["step"] for line in server.batches("metrics")] == list(range(41))
    assert len(server.received) == 3


def test_a_refused_parameter_costs_no_metrics(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    server.refuse = "epochs"
    run = Run(server.uri, "r1")
    run.params({"epochs": 4})
    run.metrics({"loss": 1.0}, step=0)
    run.close()
    assert [line["key"] for line in server.batches("metrics")] == ["loss"]
    assert len(server.batches("params")) == 1, "a refusal is not asked again"
    assert "1 entries could not be sent" in capsys.readouterr().err


def test_a_server_that_is_away_does_not_stop_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    with Server() as gone:
        pass
    run = Run(gone.uri, "r1")
    run.metrics({"loss": 1.0}, step=0)
    run.close()
    assert f"1 entries could not be sent to {gone.uri}" in capsys.readouterr().err


def test_without_a_server_nothing_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_RUN_ID", "r1")
    run = Run.of_this_job()
    run.metrics({"loss": 1.0}, step=0)
    run.close()
    assert run.id is None
