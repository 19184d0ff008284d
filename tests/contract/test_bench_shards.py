"""A load that several processes generate is the load of one: on pipes here, and by an srun that starts them here."""

from __future__ import annotations

import stat
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ai_how.bench.calibrate import BeyondGenerator, reference_server
from ai_how.bench.control import Bench
from ai_how.bench.interfaces import Heard, Measured, Place
from ai_how.bench.load import LoadClient
from ai_how.bench.shards import HereWire, ShardedClient, SrunWire, Wire
from ai_how.bench.work import Address
from ai_how.errors import AiHowError
from ai_how.run import Command, LocalGate
from ai_how.run.talk import Talk
from ai_how.spec.bench import BenchRecipe, parse_bench

RECIPE = """\
version: "1.0"
kind: bench
name: shards
target: {url: "http://127.0.0.1:1"}
load: {arrivals: constant, rate: 300, seconds: 0.5, connections: 8, processes: 2}
repetitions: 1
"""
#: What srun does with --label and --input=all, without Slurm: it starts all tasks here and labels their lines.
SRUN = """\
#!/usr/bin/env python3
import os, subprocess, sys, threading
words = sys.argv[1:]
count = int(next(word for word in words if word.startswith("--ntasks=")).partition("=")[2])
while words[0].startswith("--"):
    words = words[1:]
tasks = [
    subprocess.Popen(words, env={**os.environ, "SLURM_PROCID": str(n)}, stdin=subprocess.PIPE,
                     stdout=subprocess.PIPE, text=True, bufsize=1)
    for n in range(count)
]
def label(number, task):
    for line in task.stdout:
        sys.stdout.write(f"{number}: {line}")
        sys.stdout.flush()
threads = [threading.Thread(target=label, args=pair) for pair in enumerate(tasks)]
for thread in threads:
    thread.start()
print("srun: a word of its own, without a label", flush=True)
for line in sys.stdin:
    for task in tasks:
        task.stdin.write(line)
        task.stdin.flush()
for task in tasks:
    task.stdin.close()
    task.wait()
"""


@pytest.fixture(scope="module")
def server() -> Iterator[Address]:
    with reference_server(LocalGate(), "--service", "0.003") as address:
        yield address


@pytest.fixture(params=["here", "srun"])
def wire(request: pytest.FixtureRequest, tmp_path: Path) -> Wire:
    if request.param == "here":
        return HereWire(2)
    program = tmp_path / "srun"
    program.write_text(SRUN)
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return SrunWire(Place(LocalGate(), tmp_path, srun=str(program)), 1, 2)


def recipe(old: str = "", new: str = "") -> BenchRecipe:
    return parse_bench(RECIPE.replace(old, new), "r.yaml")


class TestWire:
    def test_every_request_is_sent_once_when_it_is_due_on_one_clock(
        self, wire: Wire, server: Address, tmp_path: Path
    ) -> None:
        client = ShardedClient(recipe(), Place(LocalGate(), tmp_path, server), wire)
        try:
            found = client.run(1)
        finally:
            client.close()
        assert found.intended == len(found.exchanges) == 150 and all(one.good for one in found.exchanges)
        dues = sorted(one.due for one in found.exchanges)
        # As exactly as the clocks are known.
        error = 2 * max(one.error_ms for one in found.generators) * 0.3 + 1e-3
        assert [(due - dues[0]) * 300 for due in dues] == pytest.approx(range(150), abs=error) and error < 1
        assert Counter(one.sent for one in found.generators) == {75: 2}
        for one in found.generators:
            # The two of them share this machine's clock: what is measured of it must hold zero.
            assert abs(one.offset_ms) <= one.error_ms + 1e-6
        assert all(one.sent >= one.due - 0.001 for one in found.exchanges)


def test_what_all_of_them_cannot_do_is_refused_with_the_figure(server: Address, tmp_path: Path) -> None:
    client = ShardedClient(recipe("rate: 300", "rate: 1_900_000"), Place(LocalGate(), tmp_path, server))
    try:
        with pytest.raises(
            BeyondGenerator, match="asks for 1,900,000 requests a second, and the generator can do"
        ):
            client.calibrate()
    finally:
        client.close()


def test_the_whole_bench_over_two_processes(server: Address, tmp_path: Path) -> None:
    achieved = []
    for _ in range(3):  # whatever else the machine does meanwhile
        (run,) = Bench(recipe(), Place(LocalGate(), tmp_path, server)).run().runs
        assert run.good == run.sent == 150 and len(run.generators) == 2 and run.calibration is not None
        achieved.append(run.achieved)
        if run.achieved == pytest.approx(1.0, abs=0.05):
            return
    raise AssertionError(achieved)


class Lately(LoadClient):
    """A generator that is too busy with other things, the first time."""

    runs = 0

    def run(self, number: int, heard: Heard | None = None) -> Measured:
        found = super().run(number, heard)
        Lately.runs += 1
        return replace(found, busy=0.97) if Lately.runs == 1 else found


def test_a_run_that_this_machine_spoilt_is_measured_again(
    server: Address, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ai_how.bench.loaded.LoadClient", Lately)
    told: list[str] = []
    one = recipe(", processes: 2", "")
    result = Bench(one, Place(LocalGate(), tmp_path, server), say=told.append).run()
    assert len(result.runs) == 1 and (result.runs[0].busy or 0) < 0.97
    assert result.spoilt[0].busy == 0.97 and any("measured again" in line for line in told)
    Lately.runs = 0
    never = one.model_copy(update={"again": 0})
    result = Bench(never, Place(LocalGate(), tmp_path, server)).run()
    assert not result.spoilt and result.runs[0].busy == 0.97 and not any(one.ok for one in result.figures)


def test_a_target_that_is_gone_is_told_by_whichever_process_meets_it(tmp_path: Path) -> None:
    client = ShardedClient(recipe(), Place(LocalGate(), tmp_path, Address("127.0.0.1", 9)))
    try:
        with pytest.raises(OSError, match="Connection refused"):
            client.run(1)
    finally:
        client.close()


def test_a_program_that_ends_before_its_time_is_told_with_its_last_words() -> None:
    talk = Talk(Command(("sh", "-c", "read line; echo said $line; echo alas >&2; exit 3")))
    talk.send("this")
    line, at = talk.line(5)
    assert line == "said this" and at <= time.monotonic()
    with pytest.raises(AiHowError, match="ended before its time") as caught:
        talk.line(5)
    talk.close()
    assert caught.value.detail == "alas"
