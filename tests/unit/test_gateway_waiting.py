"""Requests that wait: for a model that sleeps or starts, for a replica that is free, for another when one has died."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import httpx
import ollama
import openai
import pytest
from gateway_site import HEAD, STREAM, Engine, Site, chat, chunk, word

from ai_how.serving.gateway.usage import read_usage
from ai_how.wire import Demand

CHAT = "/v1/chat/completions"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


def waits(count: int) -> Any:
    return lambda demand: "tiny" in demand.models and demand.models["tiny"].waiting >= count


def wakes(site: Site, slots: int | None = None) -> None:
    """A reconciler that starts a replica when somebody waits for a model that sleeps."""
    tasks: set[asyncio.Task[None]] = set()

    async def start() -> None:
        site.route(state="starting", wakes=True)
        await asyncio.sleep(0.1)
        await site.engine("a", slots=slots)
        site.route("tiny", "a", wakes=True)

    def hear(demand: Demand) -> None:
        if waits(1)(demand) and site.routed["tiny"].state == "asleep":
            site.jobs["tiny"] += 1
            site.route(state="starting", wakes=True)
            tasks.add(asyncio.get_running_loop().create_task(start()))

    site.on_demand = hear


async def raw(port: int, token: str, body: bytes) -> bytes:
    """One request on a connection of its own; the whole answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    head = f"POST {CHAT} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nconnection: close\r\n"
    writer.write(head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body)
    answer = await reader.read()
    writer.close()
    return answer


def test_a_thousand_requests_at_a_sleeping_model_start_one_job(site: Site) -> None:
    async def scene() -> list[bytes]:
        site.route(state="asleep", wakes=True)
        wakes(site, slots=4)
        async with site.opened() as client:
            port = client.base_url.port
            assert port is not None
            body = json.dumps(chat()).encode()
            return list(await asyncio.gather(*(raw(port, site.token, body) for _ in range(1000))))

    answers = asyncio.run(scene())
    assert [answer[:12] for answer in answers] == [b"HTTP/1.1 200"] * 1000
    assert all(b'"hello"' in answer for answer in answers)
    assert site.jobs == {"tiny": 1}
    # never more than is of use: twice its slots
    assert site.engines[0].most_at_once == 8


def test_the_reconciler_hears_of_the_first_request_at_once(site: Site) -> None:
    async def scene() -> float:
        site.route(state="asleep", wakes=True)
        heard, left = [], 0.0
        async with site.opened() as client:
            for _ in range(3):  # whatever else the machine does meanwhile
                began = time.monotonic()
                asking = asyncio.create_task(client.post(CHAT, json=chat()))
                demand = await site.heard(lambda one, left=left: one.at > left and waits(1)(one))
                heard.append(time.monotonic() - began)
                assert demand.generation == site.generation and demand.asked["tiny"] > 0
                asking.cancel()
                # who leaves waits no longer, and that is told too
                left = (await site.heard(lambda one, at=demand.at: one.at > at and not one.models)).at
            return min(heard)

    assert asyncio.run(scene()) < 0.2  # in its own time the worker tells every second


def test_streams_get_signs_of_life_while_they_wait(site: Site) -> None:
    async def scene() -> tuple[str, str]:
        site.route(state="starting")
        async with site.opened(keep_alive=0.02) as client:
            asking = [
                asyncio.create_task(client.post(path, json=chat(stream=True))) for path in (CHAT, "/api/chat")
            ]
            await site.heard(waits(2))
            await asyncio.sleep(0.1)
            await site.engine("a")
            site.route("tiny", "a")
            openai, ollama = [(await one).text for one in asking]
            return openai, ollama

    openai, ollama = asyncio.run(scene())
    comments, _, rest = openai.rpartition(": waiting for a replica\n\n")
    assert comments.count("\n\n") >= 1 and rest.startswith('data: {"choices":[{"index":0,"delta"')
    assert rest.endswith("data: [DONE]\n\n") and "usage" not in rest
    # every line is JSON by itself, as Ollama's client reads it
    lines = [json.loads(line) for line in ollama.splitlines()]
    assert ollama.startswith("  ") and [line["done"] for line in lines] == [False, False, True]


def test_unmodified_clients_wait_as_they_are(site: Site) -> None:
    """What is sent while they wait is nothing to OpenAI's client and nothing to Ollama's."""

    def by_openai(url: str) -> list[str]:
        web = httpx.Client(trust_env=False)
        client = openai.OpenAI(base_url=f"{url}/v1", api_key=site.token, max_retries=0, http_client=web)
        stream = client.chat.completions.create(**chat(stream=True))
        return [chunk.choices[0].delta.content or "" for chunk in stream]

    def by_ollama(url: str) -> list[str]:
        client = ollama.Client(url, headers={"authorization": f"Bearer {site.token}"}, trust_env=False)
        return [part.message.content or "" for part in client.chat("tiny", chat()["messages"], stream=True)]

    async def scene() -> list[list[str]]:
        site.route(state="starting")
        async with site.opened(keep_alive=0.02) as client:
            asking = [
                asyncio.create_task(asyncio.to_thread(ask, str(client.base_url).rstrip("/")))
                for ask in (by_openai, by_ollama)
            ]
            await site.heard(waits(2))
            await asyncio.sleep(0.1)
            await site.engine("a")
            site.route("tiny", "a")
            return list(await asyncio.gather(*asking))

    assert asyncio.run(scene()) == [["one", "two"], ["one", "two", ""]]


@pytest.mark.parametrize("path", [CHAT, "/api/chat"])
def test_a_model_that_cannot_be_started_is_told_with_its_reason(site: Site, path: str) -> None:
    async def scene() -> tuple[httpx.Response, str, httpx.Response]:
        site.route(state="starting")
        async with site.opened(keep_alive=0.02) as client:
            whole = asyncio.create_task(client.post(path, json=chat(stream=False)))
            stream = asyncio.create_task(client.post(path, json=chat(stream=True)))
            await site.heard(waits(2))
            await asyncio.sleep(0.05)
            site.route(state="failed", reason="no GPU of that type")
            return await whole, (await stream).text, await client.post(path, json=chat())

    whole, stream, later = asyncio.run(scene())
    for answer in (whole, later):
        assert answer.status_code == 503 and "no GPU of that type" in answer.text
        assert "model_failed" in answer.text and '"scheduler"' in answer.text
    last = stream.strip().splitlines()[-1].removeprefix("data: ")
    told = json.loads(last)
    told = told["error"] if path == CHAT else {**told, "message": told["error"]}
    assert (told["source"], told["code"]) == ("scheduler", "model_failed") and "no GPU" in told["message"]


def test_who_would_wait_too_long_is_told_when_to_come_again(site: Site) -> None:
    async def scene() -> tuple[httpx.Response, httpx.Response]:
        site.route(state="starting", expected=time.time() + 5000, reason="Priority")
        async with site.opened() as client:
            at_once = await client.post(CHAT, json=chat())
            await site.heard(lambda demand: "tiny" in demand.asked)  # it is wanted all the same
            site.route(state="starting")
            waiting = asyncio.create_task(client.post(CHAT, json=chat()))
            await site.heard(waits(1))
            site.route(state="starting", expected=time.time() + 900)
            return at_once, await waiting

    at_once, later = asyncio.run(scene())
    assert (at_once.status_code, at_once.json()["error"]["code"]) == (503, "not_ready_yet")
    assert 4990 <= int(at_once.headers["retry-after"]) <= 5000
    assert later.status_code == 503 and 890 <= int(later.headers["retry-after"]) <= 900


def test_nobody_waits_for_ever(site: Site) -> None:
    async def scene() -> httpx.Response:
        site.route(state="asleep", wakes=True)
        async with site.opened(wait_most=0.1) as client:
            return await client.post(CHAT, json=chat())

    answer = asyncio.run(scene())
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30")
    assert answer.json()["error"]["code"] == "waited_too_long"


def test_the_queue_has_an_end_and_each_holder_half_of_it(site: Site) -> None:
    ada, eve, bob = (site.give(name, owner=name) for name in ("ada", "eve", "bob"))

    async def scene() -> list[tuple[int, str]]:
        site.route(state="asleep", wakes=True)
        found = []
        async with site.opened(queue_most=4) as client:

            def ask(token: str) -> Any:
                return client.post(CHAT, json=chat(), headers={"authorization": f"Bearer {token}"})

            asking = [asyncio.create_task(ask(ada)) for _ in range(2)]
            await site.heard(waits(2))
            found.append(await ask(ada))
            asking += [asyncio.create_task(ask(eve)) for _ in range(2)]
            await site.heard(waits(4))
            found.append(await ask(bob))
            await site.engine("a")
            site.route("tiny", "a")
            found += await asyncio.gather(*asking)
        return [(one.status_code, one.json().get("error", {}).get("code", "")) for one in found]

    refused = [(429, "too_many_waiting"), (503, "queue_full")]
    assert asyncio.run(scene()) == [*refused, *[(200, "")] * 4]


def test_whoever_asks_much_does_not_hold_up_who_asks_little(site: Site) -> None:
    """Twelve of one holder came first; the one request of another is second in turn."""
    ada, eve = site.give("ada", owner="ada"), site.give("eve", owner="eve")

    async def scene() -> list[str]:
        site.route(state="asleep", wakes=True)
        async with site.opened() as client:

            def ask(token: str, word: str) -> Any:
                return client.post(CHAT, json=chat(word), headers={"authorization": f"Bearer {token}"})

            asking = [asyncio.create_task(ask(ada, "much")) for _ in range(12)]
            await site.heard(waits(12))
            asking.append(asyncio.create_task(ask(eve, "little")))
            await site.heard(waits(13))
            engine = await site.engine("a", engine=Engine(pause=0.005), slots=1)
            site.route("tiny", "a")
            await asyncio.gather(*asking)
            return [body["messages"][0]["content"] for body in engine.bodies]

    order = asyncio.run(scene())
    assert order.index("little") <= 2 and order.count("much") == 12


def test_a_draining_replica_gets_nothing_new(site: Site) -> None:
    async def scene() -> tuple[int, int, Demand]:
        old, new = await site.engine("a"), await site.engine("b", job=8)
        site.route("tiny", "a", "b")
        async with site.opened() as client:
            for _ in range(4):
                await client.post(CHAT, json=chat(str(time.time())))
            before = len(old.bodies)
            assert before == 2
            site.route("tiny", "a!", "b")
            # nobody asks, and yet the new generation is told before long
            told = await site.heard(lambda demand: demand.generation == site.generation)
            for _ in range(4):
                await client.post(CHAT, json=chat(str(time.time())))
            return len(old.bodies) - before, len(new.bodies), told

    drained, other, told = asyncio.run(scene())
    assert (drained, other) == (0, 6) and told.replicas == {}


def test_who_is_not_in_the_routes_is_not_asked(site: Site) -> None:
    async def scene() -> list[httpx.Response]:
        await site.engine("a")
        await site.engine("b", "mine")
        site.route("tiny", "c")  # of which there is no record, whoever has one
        async with site.opened(wait_most=0.05) as client:
            return [await client.post(CHAT, json=chat()), await client.post(CHAT, json=chat(model="mine"))]

    silent, unknown = asyncio.run(scene())
    assert (silent.status_code, unknown.status_code) == (503, 404)


class Slow(Engine):
    """Says one word, and the rest when it is let."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = asyncio.Event()

    async def answer(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        if body.get("stream"):
            writer.write(HEAD + chunk(word("one")))
            await writer.drain()
        await self.go_on.wait()


@pytest.mark.parametrize("path", [CHAT, "/api/chat"])
def test_a_replica_that_is_killed_fails_only_streams_that_had_begun(site: Site, path: str) -> None:
    """Its stream ends with an error event; a request that had received nothing is answered by the next replica."""

    async def scene() -> tuple[str, httpx.Response]:
        dying = await site.engine("a", engine=Slow())
        site.route("tiny", "a")
        async with site.opened() as client:
            stream = asyncio.create_task(client.post(path, json=chat(stream=True)))
            whole = asyncio.create_task(client.post(path, json=chat(stream=False)))
            while len(dying.bodies) < 2:
                await asyncio.sleep(0.005)
            dying.kill()
            await site.heard(waits(1))  # the second one waits: there is no other replica yet
            await site.engine("b", job=8)
            site.route("tiny", "b")
            return (await stream).text, await whole

    stream, whole = asyncio.run(scene())
    assert whole.status_code == 200 and "hello" in whole.text
    first, *_, last = [line for line in stream.splitlines() if line]
    assert "one" in first
    told = json.loads(last.removeprefix("data: "))
    told = told["error"] if path == CHAT else told
    assert (told["code"], told["source"]) == ("replica_broke_off", "engine")
    rows = {row.job: row for row in read_usage(site.root / "usage.db", 0, 2e9)}
    assert (rows["7"].requests, rows["7"].failed, rows["7"].estimated) == (1, 1, 1)
    assert (rows["8"].requests, rows["8"].failed, rows["8"].prompt, rows["8"].completion) == (1, 0, 5, 3)


class HalfAnEvent(Engine):
    """It is killed with half an event written."""

    def __init__(self, cut: int) -> None:
        super().__init__()
        self.cut = cut

    async def answer(self, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + chunk(word("one")) + chunk(word("two")[: self.cut]))
        await writer.drain()
        writer.close()


@pytest.mark.parametrize("cut", [20, -2, -1])
@pytest.mark.parametrize("asks", [{}, {"stream_options": {"include_usage": True}}])
def test_an_engine_that_dies_within_an_event_leaves_a_stream_that_can_be_read(
    site: Site, cut: int, asks: dict[str, Any]
) -> None:
    async def scene() -> list[str]:
        await site.engine("a", engine=HalfAnEvent(cut))
        site.route("tiny", "a")
        said: list[str] = []
        async with site.opened() as client:
            ours = openai.AsyncOpenAI(
                base_url=f"{client.base_url}/v1", api_key=site.token, http_client=client, max_retries=0
            )
            with pytest.raises(openai.APIError, match="broke off"):
                async for piece in await ours.chat.completions.create(**chat(stream=True), **asks):
                    said.append(piece.choices[0].delta.content or "")
        return said

    assert asyncio.run(scene())[0] == "one"


def test_models_are_listed_as_they_are(site: Site) -> None:
    async def scene() -> tuple[Any, Any, Any, Any, Any]:
        await site.engine("a")
        site.route("tiny", "a")
        site.route("sleeps", state="asleep", wakes=True)
        site.route("starts", state="starting")
        site.route("rests", state="asleep")
        site.route("broken", state="failed", reason="out of memory", wakes=True)
        async with site.opened() as client:
            models, tags, ps = [
                (await client.get(path)).json() for path in ("/v1/models", "/api/tags", "/api/ps")
            ]
            card = (await client.get("/v1/models/sleeps")).json()
            gone = await client.get("/v1/models/broken")
            return models, tags, ps, card, gone

    models, tags, ps, card, gone = asyncio.run(scene())
    states = [("sleeps", "asleep"), ("starts", "starting"), ("tiny", "ready")]
    assert [(one["id"], one["state"]) for one in models["data"]] == states
    assert [(one["name"], one["state"]) for one in tags["models"]] == states
    assert [one["name"] for one in ps["models"]] == ["tiny"]
    assert (card["id"], card["state"]) == ("sleeps", "asleep")
    assert gone.status_code == 503 and "out of memory" in gone.text
    assert site.jobs == {} and not any(demand.asked for demand in site.told)


def test_what_ollama_asks_of_a_sleeping_model(site: Site) -> None:
    """Pull and show wake nothing; asking for nothing loads the model."""

    async def scene() -> list[httpx.Response]:
        site.route(state="asleep", wakes=True)
        wakes(site)
        async with site.opened() as client:
            pull, show = [
                await client.post(f"/api/{name}", json={"model": "tiny"}) for name in ("pull", "show")
            ]
            other = await client.post("/api/pull", json={"model": "llama3"})
            assert not site.jobs
            loaded = await client.post("/api/generate", json={"model": "tiny", "stream": False})
            assert site.jobs == {"tiny": 1}
            return [pull, show, other, loaded]

    pull, show, other, loaded = asyncio.run(scene())
    assert [json.loads(line)["status"] for line in pull.text.splitlines()] == ["success"]
    assert show.json()["capabilities"] == ["completion"] and show.json()["state"] == "asleep"
    assert other.status_code == 404 and "serve" in other.json()["error"]
    assert loaded.json()["done_reason"] == "load"


def test_budgets_are_held_and_streams_are_counted(site: Site) -> None:
    small = site.give("small", owner="Ada", tokens_in_all=12)

    async def scene() -> list[httpx.Response]:
        engine = await site.engine("a")
        site.route("tiny", "a")
        found = []
        async with site.opened() as client:
            headers = {"authorization": f"Bearer {small}"}
            for body in (chat(stream=True), chat(), chat()):
                found.append(await client.post(CHAT, json=body, headers=headers))
            assert engine.bodies[0]["stream_options"] == {"include_usage": True}
            assert "stream_options" not in engine.bodies[1] and len(engine.bodies) == 2
            await client.post(
                "/api/show", json={"model": "tiny"}, headers=headers
            )  # nobody's use of the model
        return found

    stream, whole, refused = asyncio.run(scene())
    assert stream.content == b"".join(one for one in STREAM if b"usage" not in one)
    assert whole.json()["usage"]["total_tokens"] == 8
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_spent")
    (row,) = read_usage(site.root / "usage.db", 0, 2e9)
    assert (row.token, row.owner, row.model, row.job) == ("small", "Ada", "tiny", "7")
    assert (row.requests, row.failed, row.estimated, row.prompt, row.completion) == (2, 0, 0, 10, 6)
