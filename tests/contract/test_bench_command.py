"""`ai-how bench` from a recipe to a verdict, as a user runs it: good targets, bad ones, and Ctrl-C."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from ai_how.bench.calibrate import reference_server
from ai_how.bench.model import Result
from ai_how.bench.results import read_result
from ai_how.bench.work import Address
from ai_how.cli import main
from ai_how.cli.bench import keep
from ai_how.errors import AiHowError
from ai_how.run import LocalGate, wait_until

RECIPE = """\
version: "1.0"
kind: bench
name: sample
target: {{url: "http://{address}"{target}}}
load: {{arrivals: constant, rate: {rate}, seconds: {seconds}, connections: 8}}
repetitions: {repetitions}
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Address]:
    with reference_server(LocalGate(), "--service", "0.005") as address:
        yield address


def recipe(folder: Path, address: Address | str, *, target: str = "", rate: float = 100, seconds: float = 1,
           repetitions: int = 1) -> str:  # fmt: skip
    path = folder / "recipe.yaml"
    path.write_text(
        RECIPE.format(address=address, target=target, rate=rate, seconds=seconds, repetitions=repetitions)
    )
    return str(path)


def said(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture(scope="module")
def measured(server: Address, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The result of a chat that was measured once, for the tests that only look at it."""
    folder = tmp_path_factory.mktemp("measured")
    chat = recipe(folder, server, target=", api: openai, model: any", rate=60)
    assert main(["bench", "run", chat, "--out", str(folder / "result.json"), "--json"]) == 0
    return folder / "result.json"


def test_a_chat_is_measured_and_every_fact_is_in_the_result(measured: Path) -> None:
    result = read_result(measured)
    (run,) = result.runs
    assert run.good == run.sent == run.intended == 60 and not run.errors
    assert {"latency.p50", "first_token.p50", "token.p50", "tokens"} <= {one.name for one in result.figures}
    assert result.calibration is not None and result.calibration.ceiling > 60
    assert result.environment["cores"] >= 1 and result.partial is None
    assert json.loads(measured.read_text())["recipe"]["timeout"] == 60.0, "defaults are written out"


def test_a_result_is_shown_with_its_verdicts(measured: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "show", str(measured)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "latency.p99" in shown and "not ok" in shown and "gap.p50" not in shown
    assert re.search(r"\d\d samples; 1,000 are needed for this percentile", shown)
    assert main(["bench", "show", str(measured), "--all", "--strict"]) == 1
    assert "gap.p50" in capsys.readouterr().out


def test_what_a_result_was_measured_by_can_be_run_again(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    again = tmp_path / "again.json"
    assert main(["bench", "run", "--from", str(measured), "--out", str(again), "--json"]) == 0
    facts = said(capsys)
    assert facts["result"] == str(again) and read_result(again).recipe == read_result(measured).recipe
    assert main(["bench", "compare", str(measured), str(again), "--json"]) == 9, "one run each shows nothing"
    assert main(["bench", "run"]) == 2


def planted(path: Path, source: Result, factor: float) -> str:
    """A result of five trusted runs, each figure so many times what was measured."""
    values = [factor * one for one in (10.0, 10.1, 9.9, 10.05, 9.95)]
    figure = source.figures[0].model_copy(update={"runs": tuple(values), "ok": True, "reasons": ()})
    changed = source.model_copy(update={"figures": (figure,), "runs": source.runs * 5})
    path.write_text(changed.model_dump_json())
    return str(path)


def test_the_gate_by_its_exit_codes(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = read_result(measured)
    base, same, slow = (
        planted(tmp_path / name, source, factor)
        for name, factor in (("base.json", 1.0), ("same.json", 1.001), ("slow.json", 1.1))
    )
    assert main(["bench", "compare", base, same, "--json"]) == 0
    assert said(capsys)["outcome"] == "no change"
    assert main(["bench", "compare", base, slow, "--json"]) == 1
    (figure,) = said(capsys)["figures"]
    assert figure["worse"] and figure["change"] == pytest.approx(0.1)
    assert main(["bench", "compare", base, slow, "--allow", "15"]) == 0
    assert "changed" in capsys.readouterr().out


def test_a_target_that_is_down_is_an_error_before_anything_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "run", recipe(tmp_path, "127.0.0.1:9"), "--json"]) == 9
    assert said(capsys)["message"] == "the target takes no connection"


def test_a_recipe_that_asks_for_more_than_the_generator_can_do_is_refused(
    server: Address, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", "run", recipe(tmp_path, server, rate=1_900_000), "--json"]) == 1
    assert "the recipe asks for 1,900,000 requests a second" in said(capsys)["message"]


def test_a_token_that_is_not_set_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = recipe(tmp_path, "127.0.0.1:9", target=", token_variable: NO_SUCH_TOKEN")
    assert main(["bench", "run", path, "--json"]) == 8
    assert "$NO_SUCH_TOKEN" in said(capsys)["message"]


def test_a_result_that_cannot_be_written_is_printed(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AiHowError, match="could not be written"):
        keep(tmp_path / "file" / "result.json", read_result(measured))
    assert Result.model_validate_json(capsys.readouterr().out) == read_result(measured)


@pytest.mark.parametrize(("out", "code"), [("none/result.json", 8), (".", 2)])
def test_where_no_result_can_be_written_nothing_is_measured(
    out: str, code: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", "run", recipe(tmp_path, "127.0.0.1:1"), "--out", str(tmp_path / out), "--json"]
    assert main(words) == code
    assert "folder" in said(capsys)["message"]


def test_what_is_no_result_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.json"
    path.write_text('{"version": "9"}')
    assert main(["bench", "show", str(path), "--json"]) == 1
    assert "is no result" in said(capsys)["message"]


# --- a run that ends early ----------------------------------------------------------------------------


class Mortal(ThreadingHTTPServer):
    """Answers so many requests; then it takes no connection any more and answers on none."""

    def __init__(self, life: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.life, self.seen, self.lock = life, 0, threading.Lock()
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def lives(self) -> bool:
        with self.lock:
            self.seen += 1
            dies = self.seen == self.life + 1
        if dies:
            self.shutdown()
            self.server_close()
        return self.seen <= self.life


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Mortal

    def do_GET(self) -> None:
        if self.server.lives():
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()
        else:
            self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        return


def started(folder: Path, target: Mortal) -> tuple[subprocess.Popen[str], Path]:
    out = folder / "partial.json"
    path = recipe(folder, Address("127.0.0.1", target.server_port), seconds=60, repetitions=2)
    words = [sys.executable, "-m", "ai_how", "bench", "run", path, "--out", str(out), "--json"]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True), out


@pytest.mark.parametrize(
    "signals", [(signal.SIGINT,), (signal.SIGTERM,), (signal.SIGHUP,), (signal.SIGINT, signal.SIGINT)]
)
def test_ctrl_c_keeps_what_was_measured(signals: tuple[signal.Signals, ...], tmp_path: Path) -> None:
    """Twice too, and the signal that Slurm sends before it ends a job."""
    target = Mortal(life=100_000)
    process, out = started(tmp_path, target)
    wait_until(lambda: target.seen > 20, what="the load", timeout=60)
    for one in signals:
        process.send_signal(one)
    facts = json.loads(process.communicate(timeout=60)[0])
    assert process.returncode == 130
    result = read_result(out)
    assert result.partial is not None and "interrupted" in result.partial == facts["partial"]
    assert len(result.runs) == 1 and result.runs[0].good > 10
    assert result.figures and not any(figure.ok for figure in result.figures)


def test_a_target_that_goes_down_keeps_what_was_measured(tmp_path: Path) -> None:
    process, out = started(tmp_path, Mortal(life=30))
    process.communicate(timeout=60)
    assert process.returncode == 9
    result = read_result(out)
    assert result.partial is not None and "did not answer any more" in result.partial
    assert result.runs[0].good == 30 and result.runs[0].errors
    assert not any(figure.ok for figure in result.figures)


@pytest.mark.parametrize("text", ["nan", "-5", "inf", "much"])
def test_what_is_no_percentage_is_told(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["bench", "compare", "a.json", "--allow", text])
    assert ended.value.code == 2 and "no percentage" in capsys.readouterr().err


def test_a_damaged_histogram_is_told(
    measured: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    facts = json.loads(measured.read_text())
    facts["runs"][0]["histograms"]["latency"]["cells"] = [[1, "many"]]
    (tmp_path / "r.json").write_text(json.dumps(facts))
    assert main(["bench", "report", str(tmp_path / "r.json")]) == 1
    assert "the histogram 'latency' of run 1 is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["run", "show"])
def test_what_is_no_file_at_all_is_told(
    verb: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", verb, str(tmp_path)]) == 1
    assert "Is a directory" in capsys.readouterr().err
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    assert main(["bench", verb, str(tmp_path / "bytes")]) == (3 if verb == "run" else 1)
    assert "`ai-how validate`" not in capsys.readouterr().err
