"""The gateway's application, with replicas that answer from a function."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway_door import opened
from prometheus_client.parser import text_string_to_metric_families

from ai_how.errors import AiHowError, NotFound
from ai_how.security import Grant, create_token, revoke_token, write_private
from ai_how.serving.gateway import upstream
from ai_how.serving.gateway.app import Gateway, create_app
from ai_how.serving.gateway.control import load_config
from ai_how.serving.gateway.endpoints import EndpointFolder
from ai_how.serving.gateway.listening import bind
from ai_how.serving.gateway.metrics import Metrics
from ai_how.serving.gateway.model import GatewayConfig, Replica
from ai_how.serving.gateway.upstream import Unreachable, request_head
from ai_how.wire import EndpointRecord, ErrorEnvelope

PROMPT = "a very private prompt"
ASKED = {"model": "tiny", "messages": [{"role": "user", "content": PROMPT}]}
Answer = Callable[[httpx.Request], httpx.Response]


class FixedClock:
    """Time that stands still until it is moved."""

    def __init__(self) -> None:
        self.time = 1000.0

    def now(self) -> float:
        return self.time

    def monotonic(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        self.time += seconds


def publish(
    folder: Path, letter: str, *, model: str = "tiny", job: int = 7, heartbeat: float = 1000.0
) -> None:
    record = EndpointRecord(
        version="1.0", model=model, host="127.0.0.1", port=4000 + job, job_id=job, nonce=letter * 24,
        uid=os.getuid(), engine="fake", started=900.0, heartbeat=heartbeat,
    )  # fmt: skip
    write_private(folder / record.secret_file, f"secret-of-{letter}")
    write_private(folder / record.record_file, record.model_dump_json())


class Scripted:
    """Replicas that answer from a function, asked with the very head that a real one gets."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    @asynccontextmanager
    async def ask(
        self, replica: Replica, path: str, body: bytes, method: str = "POST"
    ) -> AsyncIterator[upstream.Answer]:
        first, *lines = request_head(replica, path, len(body), method).decode().strip().split("\r\n")
        assert first == f"{method} {path} HTTP/1.1"
        headers = dict(line.split(": ", 1) for line in lines)
        request = httpx.Request(method, replica.url + path, headers=headers, content=body)
        try:
            response = self._answer(request)
        except httpx.TransportError as error:
            raise Unreachable(str(error)) from error
        yield upstream.Answer(response.status_code, response.headers["content-type"], response.aiter_raw())

    async def close(self) -> None:
        return


class Site:
    """A site with a gateway, and a client that has a token."""

    def __init__(self, root: Path, answer: Answer) -> None:
        self.endpoints = root / "endpoints"
        self.tokens = root / "tokens.json"
        self.clock = FixedClock()
        self.asked: list[httpx.Request] = []
        self._answer = answer
        self._app: Gateway | None = None
        self.token = create_token(self.tokens, "admin")
        self.more = root / "state" / "tokens.json"

    def give(self, name: str, **grant: Any) -> str:
        """A token as `ai-how token create` makes it."""
        return create_token(self.more, name, Grant(**grant), replace=True)

    def ask(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        content: bytes | None = None,
        **body: object,
    ) -> httpx.Response:
        def note(request: httpx.Request) -> httpx.Response:
            self.asked.append(request)
            return self._answer(request)

        if self._app is None:
            config = GatewayConfig(
                port=1,
                endpoints=self.endpoints,
                token_digests=self.tokens,
                tokens=self.more,
                body_limit=10_000,
            )
            self._app = create_app(config, upstream=Scripted(note), clock=self.clock)
        app = self._app
        shown = self.token if token is None else token
        headers = {b"authorization": b"Bearer " + shown.encode()} if shown else {}

        async def send() -> httpx.Response:
            async with opened(app, headers=headers) as client:
                if content is None and not body:
                    return await client.request(method, path)
                return await client.request(method, path, content=content or json.dumps(body).encode())

        return asyncio.run(send())

    def chat(self, **body: object) -> httpx.Response:
        return self.ask("POST", "/v1/chat/completions", **{**ASKED, **body})  # type: ignore[arg-type]


def error(answer: httpx.Response) -> tuple[int, str | None, str]:
    envelope = ErrorEnvelope.model_validate_json(answer.content).error
    return answer.status_code, envelope.code, envelope.source


def reply(status: int, body: object) -> httpx.Response:
    """An answer that has not been read yet, as one from a socket."""
    return httpx.Response(
        status,
        headers={"content-type": "application/json"},
        stream=httpx.ByteStream(json.dumps(body).encode()),
    )


def good(request: httpx.Request) -> httpx.Response:
    return reply(200, {"choices": [], "from": request.url.port})


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = Site(tmp_path, good)
    publish(made.endpoints, "a")
    return made


def test_health_needs_no_token_and_tells_nothing(site: Site) -> None:
    answer = site.ask("GET", "/healthz", token="")
    assert (answer.status_code, answer.json()) == (200, {"status": "ok"})


@pytest.mark.parametrize("token", ["", "aihow_wrong", "é"])
@pytest.mark.parametrize(
    ("method", "path"), [("GET", "/v1/models"), ("POST", "/v1/chat/completions"), ("GET", "/x")]
)
def test_everything_else_needs_a_token(site: Site, token: str, method: str, path: str) -> None:
    answer = site.ask(method, path, token=token)
    assert error(answer) == (401, "invalid_api_key", "gateway")
    assert answer.headers["www-authenticate"] == "Bearer"
    assert site.asked == []


def test_models_are_those_that_are_ready(site: Site) -> None:
    publish(site.endpoints, "b", model="silent", heartbeat=900.0)
    assert [card["id"] for card in site.ask("GET", "/v1/models").json()["data"]] == ["tiny"]


def test_the_card_of_one_model(site: Site) -> None:
    publish(site.endpoints, "b", model="org/model:1", job=8)
    assert site.ask("GET", "/v1/models/tiny").json()["id"] == "tiny"
    assert site.ask("GET", "/v1/models/org%2Fmodel:1").json()["id"] == "org/model:1"
    assert error(site.ask("GET", "/v1/models/tinny")) == (404, "model_not_found", "gateway")
    assert error(site.ask("GET", "/v1/models/..%2F..%2Fetc")) == (400, "invalid_request", "gateway")
    assert error(site.ask("DELETE", "/v1/models/tiny")) == (405, "method_not_allowed", "gateway")


def test_the_request_reaches_the_engine_byte_by_byte(site: Site) -> None:
    content = b'{ "model":"tiny","messages":[ ],"min_p":0.10, "x": {"y": null} }'
    answer = site.ask("POST", "/v1/chat/completions", content=content)
    assert answer.json() == {"choices": [], "from": 4007}
    assert site.asked[0].content == content
    assert site.asked[0].headers["authorization"] == f"Bearer secret-of-{'a'}"


def test_the_clients_token_stays_at_the_gateway(site: Site) -> None:
    site.chat()
    assert site.token not in str(site.asked[0].headers.raw)


def test_a_new_replica_is_found_without_a_restart(tmp_path: Path) -> None:
    folder = EndpointFolder(tmp_path / "endpoints", FixedClock())
    assert folder.replicas() == ()
    publish(tmp_path / "endpoints", "a")
    assert [one.record.job_id for one in folder.replicas()] == [7]
    publish(tmp_path / "endpoints", "a", job=8)
    assert [one.record.job_id for one in folder.replicas()] == [8]
    (tmp_path / "endpoints" / f"{'a' * 24}.json").unlink()
    assert folder.replicas() == ()


def test_a_record_that_others_may_write_is_ignored(site: Site) -> None:
    next(site.endpoints.glob("*.json")).chmod(0o666)
    assert error(site.chat()) == (404, "model_not_found", "gateway")


def test_a_broken_record_does_not_hide_the_others(site: Site) -> None:
    write_private(site.endpoints / "broken.json", "{")
    assert site.chat().status_code == 200


def dead(port: int) -> Answer:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.port == port:
            raise httpx.ConnectError("refused")
        return good(request)

    return answer


def test_when_one_replica_is_dead_the_other_is_asked(tmp_path: Path) -> None:
    site = Site(tmp_path, dead(4001))
    publish(site.endpoints, "a", job=1)
    publish(site.endpoints, "b", job=2)
    assert site.chat().json()["from"] == 4002
    assert [request.url.port for request in site.asked] == [4001, 4002]


@pytest.mark.parametrize("stream", [False, True])
def test_when_all_are_dead_the_client_learns_it(tmp_path: Path, stream: bool) -> None:
    site = Site(tmp_path, dead(4007))
    publish(site.endpoints, "a")
    answer = site.chat(stream=stream)
    assert error(answer) == (502, "replica_unreachable", "engine")
    assert answer.headers["retry-after"] == "5"


def test_a_replica_that_is_still_loading_is_passed_over(tmp_path: Path) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return reply(503, {}) if request.url.port == 4001 else good(request)

    site = Site(tmp_path, answer)
    publish(site.endpoints, "a", job=1)
    publish(site.endpoints, "b", job=2)
    assert site.chat().json()["from"] == 4002


def test_an_error_of_the_engine_keeps_its_words_and_says_whose_it_is(tmp_path: Path) -> None:
    body = {"error": {"message": "too long", "type": "exceed_context_size_error", "code": 400}}
    site = Site(tmp_path, lambda request: reply(400, body))
    publish(site.endpoints, "a")
    answer = site.chat()
    assert error(answer) == (400, "400", "engine")
    assert answer.json()["error"]["message"] == "too long"


def test_an_engine_that_refuses_the_gateway_is_not_the_clients_fault(tmp_path: Path) -> None:
    site = Site(tmp_path, lambda request: reply(401, {"error": {"message": "no"}}))
    publish(site.endpoints, "a")
    assert error(site.chat()) == (502, "replica_refuses", "engine")


def test_what_is_not_there(site: Site) -> None:
    assert error(site.ask("GET", "/v1/nothing")) == (404, "unknown_url", "gateway")
    assert error(site.ask("GET", "/v1/chat/completions")) == (405, "method_not_allowed", "gateway")


def test_another_method_is_told_which_there_are_and_head_is_answered_as_get(site: Site) -> None:
    for method, path, allow in (
        ("GET", "/v1/chat/completions", "POST"),
        ("OPTIONS", "/api/chat", "POST"),
        ("DELETE", "/v1/models/tiny", "GET, HEAD"),
        ("POST", "/api/tags", "GET, HEAD"),
    ):
        answer = site.ask(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allow)
    publish(site.endpoints, "a")
    for path in ("/v1/models", "/v1/models/tiny", "/api/version", "/api/tags"):
        whole, head = site.ask("GET", path), site.ask("HEAD", path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == whole.headers["content-length"]


def test_a_body_over_the_limit(site: Site) -> None:
    assert error(site.chat(padding="x" * 20_000)) == (413, "too_large", "gateway")
    assert site.asked == []


def told(answer: httpx.Response) -> tuple[int, str, str]:
    """An error in Ollama's envelope."""
    facts = answer.json()
    assert isinstance(facts["error"], str)
    return answer.status_code, facts["code"], facts["source"]


def test_ollamas_paths_have_ollamas_envelope(site: Site) -> None:
    assert told(site.ask("GET", "/api/tags", token="aihow_wrong")) == (401, "invalid_api_key", "gateway")
    assert told(site.ask("GET", "/api/nothing")) == (404, "unknown_url", "gateway")
    assert told(site.ask("GET", "/api/chat")) == (405, "method_not_allowed", "gateway")
    assert told(site.ask("POST", "/api/chat", content=b"x" * 20_000)) == (413, "too_large", "gateway")
    assert told(site.ask("POST", "/api/chat", content=b"no")) == (400, "invalid_request", "gateway")
    assert told(site.ask("POST", "/api/chat", model="tinny")) == (404, "model_not_found", "gateway")


def test_an_error_of_the_engine_in_ollamas_envelope(tmp_path: Path) -> None:
    body = {"error": {"message": "too long", "type": "exceed_context_size_error", "code": 400}}
    site = Site(tmp_path, lambda request: reply(400, body))
    publish(site.endpoints, "a")
    answer = site.ask("POST", "/api/chat", **ASKED)  # type: ignore[arg-type]
    assert told(answer) == (400, "400", "engine") and answer.json()["error"] == "too long"


def test_an_engine_that_answers_badly(site: Site) -> None:
    assert told(site.ask("POST", "/api/chat", **ASKED, stream=False)) == (502, "replica_malformed", "engine")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/api/chat", "/api/show"]
)
@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "tiny\nstatus=200", "$(reboot)", "`x`;|&", "", "a" * 5000, "\ud800"]
)
def test_a_hostile_name_goes_nowhere(
    site: Site, caplog: pytest.LogCaptureFixture, path: str, name: str
) -> None:
    with caplog.at_level(logging.DEBUG, logger="ai_how"):
        answer = site.ask("POST", path, model=name, messages=[], prompt="", input="")
    assert answer.status_code == 400 and site.asked == []
    assert len(answer.content) < 300 and b"etc" not in answer.content and b"reboot" not in answer.content
    (line,) = [record.getMessage() for record in caplog.records if record.name == "ai_how.gateway"]
    told = json.loads(line)
    assert (told["status"], told["model"]) == (400, "-")


def test_a_digests_file_that_others_may_read_closes_the_gateway(site: Site) -> None:
    site.tokens.chmod(0o644)
    assert error(site.chat()) == (503, "gateway_misconfigured", "gateway")


def test_a_token_made_later_opens_at_once(site: Site) -> None:
    later = create_token(site.tokens, "later")
    assert site.ask("GET", "/v1/models", token=later).status_code == 200


BOTH = pytest.mark.parametrize(
    ("path", "shape"), [("/v1/chat/completions", "openai"), ("/api/chat", "ollama")]
)


def refused(answer: httpx.Response, shape: str) -> tuple[int, str | None, str]:
    return error(answer) if shape == "openai" else told(answer)


@BOTH
def test_a_token_of_another_model_does_not_learn_whether_this_one_exists(
    site: Site, path: str, shape: str
) -> None:
    token = site.give("ada", models=("site-*",))
    for model in ("tiny", "nothing"):
        answer = site.ask("POST", path, token=token, model=model, messages=[])
        assert refused(answer, shape) == (403, "model_not_allowed", "gateway")
    answer = site.ask("POST", path, token=token, model="site-none", messages=[])
    assert answer.status_code == 404 and "tiny" not in answer.text
    assert site.asked == []


def test_a_token_sees_the_models_that_it_opens(site: Site) -> None:
    publish(site.endpoints, "b", model="site-facts", job=8)
    token = site.give("ada", models=("site-*",))
    assert [card["id"] for card in site.ask("GET", "/v1/models", token=token).json()["data"]] == [
        "site-facts"
    ]
    for path in ("/api/tags", "/api/ps"):
        assert [one["name"] for one in site.ask("GET", path, token=token).json()["models"]] == ["site-facts"]
    body = {"model": "site-facts", "messages": []}
    assert site.ask("POST", "/v1/chat/completions", token=token, **body).json()["from"] == 4008  # type: ignore[arg-type]


@BOTH
def test_a_token_that_has_expired(site: Site, path: str, shape: str) -> None:
    token = site.give("ada", expires=1001.0)
    assert site.ask("GET", "/v1/models", token=token).status_code == 200
    site.clock.sleep(1)
    answer = site.ask("POST", path, token=token, model="tiny", messages=[])
    assert refused(answer, shape) == (401, "expired_api_key", "gateway")
    assert answer.headers["www-authenticate"] == "Bearer" and site.asked == []


@BOTH
def test_a_token_that_asks_too_often_is_told_when_it_may(site: Site, path: str, shape: str) -> None:
    token = site.give("ada", requests_per_minute=2)
    assert [site.ask("GET", "/v1/models", token=token).status_code for _ in range(2)] == [200, 200]
    answer = site.ask("POST", path, token=token, model="tiny", messages=[])
    assert refused(answer, shape) == (429, "rate_limit_exceeded", "gateway")
    assert answer.headers["retry-after"] == "30" and site.asked == []
    assert site.chat().status_code == 200  # the owner's own is not held up by it
    site.clock.sleep(30)
    assert site.ask("GET", "/v1/models", token=token).status_code == 200
    assert site.ask("GET", "/v1/models", token=token).status_code == 429


def test_a_revoked_token_opens_nothing_at_once(site: Site) -> None:
    token = site.give("ada")
    assert site.ask("GET", "/v1/models", token=token).status_code == 200
    revoke_token(site.more, "ada")
    assert error(site.ask("GET", "/v1/models", token=token)) == (401, "invalid_api_key", "gateway")
    assert site.ask("GET", "/v1/models").status_code == 200


def test_a_tokens_file_that_others_may_write_closes_the_gateway(site: Site) -> None:
    token = site.give("ada")
    site.more.chmod(0o666)
    assert error(site.ask("GET", "/v1/models", token=token)) == (503, "gateway_misconfigured", "gateway")


def test_refusals_are_logged_with_the_tokens_name_and_without_the_token(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    late, narrow = site.give("late", expires=1.0), site.give("narrow", models=("other",))
    with caplog.at_level(logging.DEBUG, logger="ai_how"):
        site.ask("GET", "/v1/models", token=late)
        site.ask("POST", "/api/chat", token=narrow, model="tiny", messages=[])
        site.ask("GET", "/v1/models", token="aihow_guessed-by-somebody")
    lines = [json.loads(one.getMessage()) for one in caplog.records if one.name == "ai_how.gateway"]
    assert [(one["status"], one["user"]) for one in lines] == [(401, "late"), (403, "narrow"), (401, "-")]
    assert late not in caplog.text and narrow not in caplog.text and "guessed" not in caplog.text


def test_the_log_says_who_asked_which_model_and_nothing_of_what(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.DEBUG, logger="ai_how"):
        site.chat()
        site.chat(model="tinny " + PROMPT)
    first, second = (json.loads(one.getMessage()) for one in caplog.records if one.name == "ai_how.gateway")
    assert (first["status"], first["user"], first["model"], first["job"]) == (200, "admin", "tiny", "7")
    assert (first["method"], first["path"]) == ("POST", "/v1/chat/completions")
    assert 0 <= first["first_ms"] <= first["ms"] and first["time"] == 1000.0
    assert (second["status"], second["model"], second["first_ms"]) == (400, "-", second["first_ms"])
    assert PROMPT not in caplog.text
    assert site.token not in caplog.text and "secret-of" not in caplog.text


def test_a_fault_of_the_gateway_has_the_usual_shape(tmp_path: Path) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        raise ZeroDivisionError

    site = Site(tmp_path, answer)
    publish(site.endpoints, "a")
    assert error(site.chat()) == (500, "gateway_fault", "gateway")


def test_a_port_that_is_taken() -> None:
    with bind("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(AiHowError, match=f"port {port} is taken") as caught:
            bind("127.0.0.1", port)
    assert f"sport = :{port}" in (caught.value.todo or "")


def test_a_host_that_is_not_this_machines() -> None:
    with pytest.raises(AiHowError, match="cannot listen"):
        bind("192.0.2.1", 8080)


def test_all_mistakes_of_a_configuration_at_once(tmp_path: Path) -> None:
    (tmp_path / "gateway.json").write_text('{"port": 66044, "endpoint": "x", "token_digests": "y"}')
    with pytest.raises(AiHowError) as caught:
        load_config(tmp_path / "gateway.json")
    assert [line.split(":")[0] for line in (caught.value.detail or "").splitlines()] == [
        "port",
        "endpoints",
        "endpoint",
    ]
    with pytest.raises(NotFound):
        load_config(tmp_path / "missing.json")


def test_the_environment_may_name_the_digests_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "gateway.json").write_text('{"port": 8080, "endpoints": "x", "token_digests": "y"}')
    monkeypatch.setenv("AI_HOW_GATEWAY_TOKEN_DIGESTS", "/elsewhere/tokens.json")
    assert load_config(tmp_path / "gateway.json").token_digests == Path("/elsewhere/tokens.json")


def test_the_metrics_tell_what_the_token_opens(site: Site) -> None:
    publish(site.endpoints, "b", model="site-facts", job=8, heartbeat=900.0)
    narrow = site.give("narrow", models=("site-*",))
    site.chat()
    site.chat(model="site-facts")
    assert error(site.ask("GET", "/metrics", token="")) == (401, "invalid_api_key", "gateway")
    page = site.ask("GET", "/metrics")
    assert page.headers["content-type"].startswith("text/plain; version=0.0.4")
    found = samples(page.text)
    assert found['ai_how_gateway_requests_total{api="openai",model="tiny",status="200"}'] == 1
    assert found['ai_how_gateway_requests_total{api="openai",model="site-facts",status="503"}'] == 1
    assert found['ai_how_gateway_request_seconds_count{api="openai",model="tiny"}'] == 1
    assert found['ai_how_gateway_request_seconds_bucket{api="openai",le="+Inf",model="tiny"}'] == 1
    assert found['ai_how_gateway_first_byte_seconds_count{api="openai",model="tiny"}'] == 1
    assert found['ai_how_gateway_replicas{model="tiny",state="ready"}'] == 1
    assert found['ai_how_gateway_replicas{model="site-facts",state="silent"}'] == 1
    less = samples(site.ask("GET", "/metrics", token=narrow).text)
    assert less and all('model="site-facts"' in name for name in less)


def samples(page: str) -> dict[str, float]:
    """Every sample of a page, as Prometheus' own parser reads it."""
    return {
        sample.name
        + "{"
        + ",".join(f'{key}="{sample.labels[key]}"' for key in sorted(sample.labels))
        + "}": sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def test_workers_tell_the_sum_and_one_that_comes_back_goes_on(tmp_path: Path) -> None:
    one, two = Metrics(tmp_path, 0), Metrics(tmp_path, 1)
    for metrics in (one, two):
        metrics.count("tiny", "prompt", 10)
        metrics.save()
    assert one.all().tokens == two.all().tokens == {("tiny", "prompt"): 20}
    again = Metrics(tmp_path, 1)
    again.count("tiny", "prompt", 1)
    again.save()
    assert one.all().tokens == {("tiny", "prompt"): 21}
    (tmp_path / "1.json").write_text("[[], [], {")
    assert one.all().tokens == {("tiny", "prompt"): 10}
