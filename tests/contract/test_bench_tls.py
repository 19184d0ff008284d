"""A load over TLS: against a reference whose certificate is known, and against the gateway with the site's own."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from door import opened
from launched import Running, start
from tiny_gguf import write_tiny_gguf

from ai_how.bench.calibrate import reference_server
from ai_how.bench.control import Bench
from ai_how.bench.interfaces import Place
from ai_how.bench.results import read_result
from ai_how.cli import main
from ai_how.errors import CouldNotTell
from ai_how.run import LocalGate
from ai_how.security.certificates import Certificates
from ai_how.serving.engines import LlamaCpp
from ai_how.serving.engines import Place as Runtime
from ai_how.spec.bench import parse_bench

HEAD = 'version: "1.0"\nkind: bench\nname: secured\nrepetitions: 1\n'
KINDS = {
    "http": "target: {{url: '{url}'}}\nload: {{arrivals: constant, rate: 100, seconds: 0.5}}\n",
    "several": "target: {{url: '{url}'}}\nload: {{arrivals: constant, rate: 100, seconds: 0.5, processes: 2}}\n",
    "openai": "target: {{api: openai, model: any, url: '{url}'}}\nworkload: {{prompts: {{max_tokens: 4}}}}\n"
    "load: {{arrivals: constant, rate: 100, seconds: 0.5}}\n",
    "chain": "target: {{api: chain, model: any, url: '{url}'}}\nworkload: {{chain: {{documents: 1, k: 1}}}}\n"
    "load: {{arrivals: closed, seconds: 0.3}}\n",
}


@pytest.fixture
def replica(llama_python: Path, tmp_path: Path) -> Iterator[Running]:
    running = start(
        LlamaCpp(), Runtime.of_python(llama_python), write_tiny_gguf(tmp_path / "tiny.gguf"), tmp_path
    )
    running.record()
    yield running
    running.end()


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_loaded_and_calibrated_over_tls(kind: str, tmp_path: Path) -> None:
    with reference_server(LocalGate(), "--service", "0.002", tls=True) as address:
        recipe = parse_bench(HEAD + KINDS[kind].format(url=address.url), kind)
        result = Bench(recipe, Place(LocalGate(), tmp_path, address)).run()
    (run,) = result.runs
    assert result.partial is None and run.good == run.sent > 0 and not run.errors
    if kind != "chain":
        assert result.calibration is not None and result.calibration.ceiling > 100


def test_a_stranger_is_not_trusted(tmp_path: Path) -> None:
    strange = Certificates(tmp_path, "strange")
    strange.renew("reference", ("127.0.0.1",), 1, time.time())
    with reference_server(LocalGate(), tls=True) as address:
        other = address._replace(trust=strange.ca.read_text())
        recipe = parse_bench(HEAD + KINDS["http"].format(url=address.url), "http")
        with pytest.raises(CouldNotTell, match="cannot be trusted") as caught:
            Bench(recipe, Place(LocalGate(), tmp_path, other)).run()
    assert "certificate verify failed" in (caught.value.cause or "")


def test_the_gateway_is_known_by_the_sites_certificate(
    replica: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = replica.record().model
    own = Certificates(tmp_path, "demo")
    own.renew("gateway", ("127.0.0.1",), 1, time.time())
    pem = str(own.of("gateway"))
    with opened(replica.site, own.ca, tls={"certificate": pem, "key": pem}) as door:
        monkeypatch.setenv("BENCH_TEST_TOKEN", door.token)
        recipe, out = tmp_path / "recipe.yaml", tmp_path / "result.json"
        recipe.write_text(
            f"{HEAD}target: {{api: openai, model: {json.dumps(model)}, url: '{door.url}', certificate: '{own.ca}', "
            "token_variable: BENCH_TEST_TOKEN}\nworkload: {prompts: {words: 4, max_tokens: 4}}\n"
            "load: {arrivals: constant, rate: 10, seconds: 0.5}\n"
        )
        assert main(["bench", "run", str(recipe), "--out", str(out), "--json"]) == 0
    (run,) = read_result(out).runs
    assert run.good == run.sent > 0 and not run.errors
