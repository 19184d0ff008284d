"""A bench recipe says every mistake at once, where it is and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_how.bench.interfaces import Place
from ai_how.bench.prompts import prompt
from ai_how.bench.targets import openai
from ai_how.bench.targets.web import address_of
from ai_how.bench.work import first_of
from ai_how.errors import SpecError
from ai_how.run import LocalGate
from ai_how.spec.bench import BenchRecipe, Prompts, override, parse_bench, points

GOOD = """\
version: "1.0"
kind: bench
name: sample
target: {api: openai, model: tiny}
load: {rate: 10, seconds: 5}
"""


def problems(text: str) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse_bench(text, "r.yaml")
    return [f"{one.line}:{one.column} {one.message}" for one in caught.value.problems]


def test_what_is_left_out_is_written_into_the_resolved_recipe() -> None:
    recipe = parse_bench(GOOD, "r.yaml")
    assert BenchRecipe.model_validate_json(recipe.model_dump_json()) == recipe
    assert recipe.repetitions == 3 and recipe.load.arrivals == "poisson"


def test_every_mistake_at_once_with_its_place() -> None:
    text = GOOD.replace("rate: 10", "rte: 10, arrivals: poison").replace("tiny}", "tiny, url: 'ftp://x'}")
    assert problems(text) == [
        "4:1 'ftp://x' is no address to be loaded: http:// or https://HOST:PORT is wanted, without a path",
        "5:8 unknown key 'rte' in 'load'",
        "5:27 'load.arrivals' should be 'constant', 'poisson', 'bursts', 'ramp', 'trace' or 'closed', not 'poison'",
    ]


@pytest.mark.parametrize(("old", "new", "said"), [
    ("model: tiny", "model: null", "needs 'model'"),
    ("{api: openai, model: tiny}", "{api: http}", "needs 'url'"),
    ("rate: 10, ", "", "need 'rate'"),
    ("rate: 10", "rate: 10, arrivals: ramp", "need 'to_rate'"),
    ("rate: 10", "arrivals: trace", "need 'times'"),
    ("rate: 10, seconds: 5", "rate: 1000, seconds: 80000", "more than 2,000,000 requests"),
    ("rate: 10", "rate: 0", "'load.rate' should be greater than 0"),
    ("rate: 10, ", "arrivals: closed, processes: 3, ", "1 clients cannot be dealt out to 3 processes"),
    ("tiny}", "tiny, url: 'http://x', deploy: {source: a}}", "without 'url'"),
    ("tiny}", "tiny, deploy: {source: a}}\nsweep: {target.deploy.slots: [1, 2]}", "is deployed once for all points"),
    ("{api: openai, model: tiny}", "{api: fio, deploy: {source: a}}", "kinds that ask a served model"),
    ("load:", "workload: {request: {path: 'a b'}, prompts: {}}\nload:", "'workload.request.path'"),
    ("load:", "workload: {request: {}, prompts: {}}\nload:", "is nothing that a target of the api 'openai' is asked"),
    ("load:", "prompts: {words: 3}\nload:", "unknown key 'prompts'"),
    ("load:", "search: {high: 9}\nload:", "a search needs an 'objective'"),
    ("load:", "search: {low: 9, high: 3}\nload:", "has nowhere to go"),
    ("load:", "objective: {latency_ms: 9}\nsearch: {key: load.clients}\nload:", "does not go with arrivals"),
    ("load:", "sweep: {load.rat: [1]}\nload:", "there is no key 'load.rat' to vary"),
    ("load:", "sweep: {load.rate: [1, 0]}\nload:", "'sweep.load.rate': load.rate: Input should be greater than 0"),
    ("load:", "sweep: {load.rate: []}\nload:", "has no values"),
    ("load:", "against: {load.rate: -1}\nload:", "'against': load.rate"),
])  # fmt: skip
def test_what_does_not_fit_together_is_refused(old: str, new: str, said: str) -> None:
    (found,) = problems(GOOD.replace(old, new))
    assert said in found


@pytest.mark.parametrize(("url", "host", "port"), [
    ("http://127.0.0.1:8080", "127.0.0.1", 8080), ("http://node01/", "node01", 80), ("http://[::1]:7", "::1", 7),
])  # fmt: skip
def test_addresses(url: str, host: str, port: int) -> None:
    recipe = parse_bench(GOOD.replace("model: tiny", f'model: tiny, url: "{url}"'), "r.yaml")
    assert address_of(recipe.target.url or "") == (host, port, None)


def test_a_request_is_whole_and_carries_the_token() -> None:
    place = Place(LocalGate(), Path(), address_of("http://[::1]:7"), "secret")
    assert "secret" not in repr(place)
    work = openai.TARGET.work(parse_bench(GOOD, "r.yaml"), place)
    head, _, body = work.request(3).partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /v1/chat/completions HTTP/1.1"
    assert {"host: [::1]:7", "authorization: Bearer secret", f"content-length: {len(body)}"} <= set(lines)
    assert b'"include_usage": true' in body


def test_prompts_are_repeatable_and_unlike_each_other() -> None:
    asked = Prompts(words=50, spread=0.2, shared=0.5)
    made = [prompt(asked, index) for index in range(200)]
    assert made == [prompt(asked, index) for index in range(200)]
    assert len(set(made)) == 200
    lengths = [len(text.split()) for text in made]
    assert 47 < sum(lengths) / 200 < 53 and min(lengths) < 40
    first = made[0].split()[:25]
    assert all(text.split()[:25] == first[: len(text.split())] for text in made if len(text.split()) >= 25)
    assert len({text.split()[25] for text in made if len(text.split()) > 25}) > 190


def test_another_run_asks_the_same_words_behind_another_number() -> None:
    """Or a prefix cache would know them: engines keep it from one benchmark to the next."""
    asked = Prompts(words=50, shared=0.2)
    lots = [[prompt(asked, first_of(lot, 1) + index).split() for index in range(20)] for lot in (1, 2)]
    for one, other in zip(*lots, strict=True):
        assert one[10] != other[10] and one[:10] == other[:10] and one[11:] == other[11:]
        assert len(one[10]) == len(other[10]) == 12


def test_nothing_is_shared_unless_asked_for() -> None:
    assert len({prompt(Prompts(), index).split()[0] for index in range(100)}) == 100


def test_a_sweep_has_a_point_for_each_combination() -> None:
    recipe = parse_bench(GOOD + "sweep:\n  load.rate: [1, 2.5]\n  workload.prompts.words: [8, 9]\n", "r.yaml")
    found = [dict(point) for point in points(recipe)]
    assert found[0] == {"load.rate": 1, "workload.prompts.words": 8} and len(found) == 4
    made = override(recipe, found[3])
    assert made.load.rate == 2.5 and made.workload.prompts is not None and made.workload.prompts.words == 9
    assert list(points(parse_bench(GOOD, "r.yaml"))) == [{}]


def test_a_mistake_in_a_sweep_is_told_where_it_is() -> None:
    text = GOOD + "sweep:\n  load.rate:\n    - 1\n    - fast\n"
    with pytest.raises(SpecError) as caught:
        parse_bench(text, "r.yaml")
    (problem,) = caught.value.problems
    assert (problem.line, problem.column) == (9, 7)
    with pytest.raises(SpecError) as caught:
        parse_bench(GOOD + "sweep: {load.rte: [1]}\n", "r.yaml")
    assert caught.value.problems[0].todo == "Did you mean 'load.rate'?"


@pytest.mark.parametrize(("more", "said"), [
    ('target: {url: "http://127.0.0.1:99999"}\n', "has the port 99999; 65,535 is the highest"),
    ("target: {api: fio}\ntimeout: .inf\n", "'timeout' should be a finite number, not inf"),
    ("target: {api: fio}\nload: {arrivals: trace, times: [1, .nan]}\n", "should be a finite number, not nan"),
    ("target: {api: fio}\nload: {arrivals: trace, times: [0, 1e9]}\n", "span more than 86,400 seconds"),
])  # fmt: skip
def test_what_no_clock_can_do_is_a_mistake(more: str, said: str) -> None:
    with pytest.raises(SpecError) as error:
        parse_bench('version: "1.0"\nkind: bench\nname: x\n' + more, "r.yaml")
    assert said in str(error.value.detail)
