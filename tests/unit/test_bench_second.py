"""Second opinions: what the tools say is read as what it is, and what they are asked is what the recipe asks.

Which of the answers were recorded, and which were written down after documentation, stands in
``tests/recorded/second-opinions/README.md``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ai_how.bench.interfaces import Measured, Place
from ai_how.bench.second.control import TOOLS, Seconded
from ai_how.bench.work import Address
from ai_how.errors import CouldNotTell, MissingProgram, UsageError
from ai_how.run import Command, Completed, LocalGate
from ai_how.spec.bench import BenchRecipe, parse_bench
from ai_how.spec.bench_target import Second

RECORDED = Path(__file__).parents[1] / "recorded"
ANSWERS = {
    "guidellm": (RECORDED / "guidellm/0.8.1/synchronous.json", "first_token.p50", 5.9276),
    "aiperf": (RECORDED / "aiperf/0.13.0/profile_export_aiperf.json", "token.mean", 0.32071),
    "vllm": (RECORDED / "second-opinions/vllm.json", "tokens", 152.4),
    "elbencho": (RECORDED / "second-opinions/elbencho.csv", "read_operations", 28006),
    "ior": (RECORDED / "second-opinions/ior.json", "read_bandwidth", 2048.5),
    "mdtest": (RECORDED / "second-opinions/mdtest.txt", "creates", 35112.4),
    "warp": (RECORDED / "second-opinions/warp.txt", "latency.p99", 8.1),
    "nccl-tests": (RECORDED / "second-opinions/nccl.txt", "bus_bandwidth.4194304", 101.8e9 / 2**30),
}
WORKLOADS = {
    "openai": "workload: {prompts: {words: 5, max_tokens: 8}}\n",
    "fio": "workload: {fio: {size: 4M}}\n",
    "metadata": "",
    "s3": "",
    "collective": "",
}


def recipe(name: str, load: str = "{arrivals: closed, clients: 2, seconds: 1}") -> BenchRecipe:
    api = TOOLS[name].api[0]
    model = ", model: tiny" if api == "openai" else ""
    text = f'version: "1.0"\nkind: bench\nname: second\ntarget: {{api: {api}{model}, second: [{name}]}}\n'
    return parse_bench(f"{text}{WORKLOADS[api]}load: {load}\n", name)


def test_every_tool_has_a_word_in_the_recipe_and_an_answer_here() -> None:
    assert set(TOOLS) == set(ANSWERS) == set(Second.__args__)


@pytest.mark.parametrize("name", ANSWERS)
def test_an_answer_is_read(name: str) -> None:
    path, figure, value = ANSWERS[name]
    found = TOOLS[name].read(path.read_text(encoding="utf-8"))
    assert found[figure].value == pytest.approx(value, rel=1e-3)


@pytest.mark.parametrize("name", ANSWERS)
@pytest.mark.parametrize("text", ["", "{}", "no\n", '{"benchmarks": []}'])
def test_rubbish_is_no_opinion(name: str, text: str) -> None:
    with pytest.raises(CouldNotTell, match=name):
        TOOLS[name].read(text)


@pytest.mark.parametrize("name", ANSWERS)
def test_what_is_asked_has_no_secret_in_it(name: str, tmp_path: Path) -> None:
    settings = {"s3_access_key": "key", "s3_secret_key": "hidden", "s3_url": "http://127.0.0.1:1"}
    place = Place(LocalGate(), tmp_path, Address("127.0.0.1", 1), "hidden", settings=settings)
    command = TOOLS[name].ask(recipe(name), place, tmp_path)
    assert command.argv[0] == TOOLS[name].program
    assert "hidden" not in " ".join(command.argv)


def test_prompts_are_ours_and_none_that_was_asked_before(tmp_path: Path) -> None:
    place = Place(LocalGate(), tmp_path, Address("127.0.0.1", 1))
    rated = recipe("guidellm", "{arrivals: poisson, rate: 4, seconds: 5}")
    command = TOOLS["guidellm"].ask(rated, place, tmp_path)
    assert "kind=poisson,rate=4" in command.argv and "kind=max_requests,count=20" in command.argv
    lines = [json.loads(line) for line in (tmp_path / "prompts.jsonl").read_text().splitlines()]
    assert len({line["prompt"] for line in lines}) == 20 and lines[0]["output_tokens_count"] == 8


class Inner:
    """A client that has measured."""

    def calibrate(self) -> None:
        return None

    def run(self, number: int, heard: object = None) -> Measured:
        return Measured(seconds=1.0, sent=1, good=1)

    def close(self) -> None:
        return


class Tools(LocalGate):
    """A machine on which a tool leaves what was recorded of it, or is not there."""

    def __init__(self, there: bool) -> None:
        self.there = there

    def run(self, command: Command, *, check: bool = True) -> Completed:
        if not self.there:
            raise MissingProgram(f"{command.argv[0]} is not there")
        assert command.cwd is not None
        (command.cwd / "guidellm.json").write_bytes(ANSWERS["guidellm"][0].read_bytes())
        return Completed(command, 0, "", "", 0.1)


def test_an_opinion_stands_beside_our_figures(tmp_path: Path) -> None:
    place = Place(Tools(there=True), tmp_path, Address("127.0.0.1", 1))
    found = Seconded(recipe("guidellm"), place, Inner()).run(1)
    assert found.values["guidellm.first_token.p50"].value == pytest.approx(5.9276, rel=1e-3)
    assert found.notes["guidellm"].startswith("guidellm run") and not list(tmp_path.iterdir())


def test_a_tool_that_is_not_there_gives_none(tmp_path: Path) -> None:
    place = Place(Tools(there=False), tmp_path, Address("127.0.0.1", 1))
    found = Seconded(recipe("guidellm"), place, Inner()).run(1)
    assert not found.values and "guidellm is not there" in found.notes["guidellm"]


def test_what_cannot_be_asked_is_refused_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="command line alone"):
        Seconded(recipe("aiperf"), Place(LocalGate(), tmp_path, Address("127.0.0.1", 1), "token"), Inner())
    wrong = recipe("warp").model_copy(update={"target": recipe("ior").target})
    wrong = wrong.model_copy(update={"target": wrong.target.model_copy(update={"second": ("warp",)})})
    with pytest.raises(UsageError, match="warp knows no target"):
        Seconded(wrong, Place(LocalGate(), tmp_path), Inner())


def test_warp_is_asked_of_the_store_that_is_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The site's own has keys that are shown to no other."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "theirs")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    settings = {"s3_access_key": "ours", "s3_secret_key": "ours", "s3_url": "http://127.0.0.1:1"}
    place = Place(LocalGate(), tmp_path, settings=settings)
    own = recipe("warp")
    command = TOOLS["warp"].ask(own, place, tmp_path)
    assert "127.0.0.1:1" in command.argv and command.env["WARP_ACCESS_KEY"] == "ours"
    other = own.model_copy(
        update={"target": own.target.model_copy(update={"url": "http://store.example:9000"})}
    )
    command = TOOLS["warp"].ask(other, place, tmp_path)
    assert "store.example:9000" in command.argv and command.env["WARP_ACCESS_KEY"] == "theirs"
