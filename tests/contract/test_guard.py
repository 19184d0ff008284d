"""The guard before an engine that knows no secrets: who gets in, what goes through, and what it does when it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

import httpx
import pytest
from launched import Running, has_ended, start
from programs import fake_place, write_ollama_store
from tiny_folder import write_tiny_folder

from ai_how.run import wait_until
from ai_how.serving import replica_guard, replica_launcher
from ai_how.serving.engines import Ollama, Vllm


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("guard")
    model = write_ollama_store(folder / "store")
    running = start(Ollama(), fake_place(folder / "place", "ollama"), model, folder / "site")
    running.record()
    yield running
    status, said = running.end()
    assert status == 0, said


def secret_of(running: Running) -> str:
    return (running.record_path.parent / running.record().secret_file).read_text()


def exchange(running: Running, *parts: bytes, answers: int = 1) -> bytes:
    """Send bytes as they are; the answers, and behind them "<open>" when one more request is taken."""
    record = running.record()
    secret = secret_of(running).encode()
    with (
        socket.create_connection((record.host, record.port), timeout=60) as connection,
        connection.makefile("rb") as stream,
    ):
        for part in parts:
            connection.sendall(part.replace(b"SECRET", secret))
        found = b"".join(answer_in(stream) for _ in range(answers))
        try:
            connection.sendall(GOOD.replace(b"SECRET", secret))
            return found + (b"<open>" if answer_in(stream) else b"")
        except ConnectionError:
            return found


def answer_in(stream: BinaryIO) -> bytes:
    """The next answer, whole; nothing when the other side has hung up."""
    head = b""
    while (line := stream.readline()) not in (b"", b"\r\n"):
        head += line
    length = re.search(rb"(?im)^content-length: *(\d+)", head)
    return head + line + (stream.read(int(length[1])) if length else b"")


GOOD = b"GET /v1/models HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer SECRET\r\n\r\n"


def test_one_connection_carries_one_request_after_another(guarded: Running) -> None:
    answer = exchange(guarded, GOOD + GOOD, answers=2)
    assert answer.count(b"HTTP/1.1 200") == 2 and answer.endswith(b"<open>")


def test_each_request_is_asked_for_the_secret(guarded: Running) -> None:
    answer = exchange(guarded, GOOD, b"GET /v1/models HTTP/1.1\r\nHost: a\r\n\r\n", answers=2)
    assert answer.count(b"HTTP/1.1 200") == 1 and answer.count(b"HTTP/1.1 401") == 1
    assert not answer.endswith(b"<open>")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 401),
        (b"GET / HTTP/1.1\r\nAuthorization: Bearer SECRETx\r\n\r\n", 401),
        (b"GET / HTTP/1.1\r\nAuthorization: Basic SECRET\r\n\r\n", 401),
        (b"GET / HTTP/1.1\r\nAuthorization: Bearer \r\n\r\n", 401),
        (b"GET / HTTP/1.1\r\nAuthorization: Bearer SECRET\r\nAuthorization: Bearer x\r\n\r\n", 401),
        (b"GET / HTTP/1.1\r\nAuthorization : Bearer SECRET\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: b\nAuthorization: Bearer SECRET\r\n\r\n", 400),
        (b"GET http://other/ HTTP/1.1\r\nAuthorization: Bearer SECRET\r\n\r\n", 400),
        (b"GET / HTTP/2\r\nAuthorization: Bearer SECRET\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: " + b"x" * 70000 + b"\r\n\r\n", 431),
    ],
)
def test_whoever_is_not_let_in_is_told_so_and_nothing_else(
    guarded: Running, request_: bytes, status: int
) -> None:
    answer = exchange(guarded, request_)
    assert answer.startswith(b"HTTP/1.1 %d " % status) and not answer.endswith(b"<open>")
    assert secret_of(guarded).encode() not in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"] == status


@pytest.mark.parametrize(
    "lengths",
    [
        b"Content-Length: 3\r\nTransfer-Encoding: chunked",
        b"Content-Length: 3\r\nContent-Length: 4",
        b"Content-Length: +3",
        b"Content-Length: 3, 3",
        b"Transfer-Encoding: gzip, chunked",
    ],
)
def test_a_body_whose_end_can_be_read_in_two_ways_is_refused(guarded: Running, lengths: bytes) -> None:
    head = b"POST /v1/completions HTTP/1.1\r\nAuthorization: Bearer SECRET\r\n" + lengths + b"\r\n\r\n"
    assert exchange(guarded, head + b"abc").startswith(b"HTTP/1.1 400 ")


def test_a_body_in_chunks_arrives_whole(guarded: Running) -> None:
    body = json.dumps({"model": "tiny", "prompt": "x" * 100_000}).encode()
    with guarded.client() as client:
        answer = client.post("/v1/completions", content=iter([body[:70_000], body[70_000:]]))
        assert answer.json()["object"] == "text_completion"
        assert client.get("/v1/models").status_code == 200


def test_the_engine_never_sees_the_secret(guarded: Running) -> None:
    with guarded.client() as client:
        assert client.get("/v1/models").status_code == 200
        assert client.get("/shown").json() == {"shown": None}


def test_an_engine_with_a_key_is_shown_it(tmp_path: Path) -> None:
    model = write_tiny_folder(tmp_path / "tiny")
    running = start(Vllm(), fake_place(tmp_path / "place", "vllm"), model, tmp_path / "site")
    with running.client() as client:
        assert client.get("/metrics").status_code == 200
        assert client.get("/shown").json() == {"shown": f"Bearer {secret_of(running)}"}
    # What vLLM itself leaves open is not open here.
    with running.client(secret="") as client:
        assert {client.get(path).status_code for path in ("/metrics", "/health", "/v1/models")} == {401}
    assert running.end()[0] == 0


def test_a_stream_is_not_held_back(guarded: Running) -> None:
    late = []
    with guarded.client() as client, client.stream("POST", "/slow", json={"pieces": 8}) as answer:
        for line in answer.iter_lines():
            if line:
                late.append(time.time() - float(line.split()[2]))
    # Held back, each would come with the next one 50 ms later, or with the last.
    assert len(late) == 8 and sorted(late)[2] < 0.04


def test_a_small_answer_does_not_wait_in_the_kernel(guarded: Running) -> None:
    """A head and a body in two packets wait 40 ms where the sockets are left as they are."""
    seconds = []
    with guarded.client() as client:
        for _ in range(15):
            began = time.monotonic()
            assert client.get("/v1/models").status_code == 200
            seconds.append(time.monotonic() - began)
    assert min(seconds[1:]) < 0.03


def test_an_engine_that_closes_its_connection_costs_no_request(guarded: Running) -> None:
    """However soon the next one comes on the client's connection, which goes on."""
    pieces = {"pieces": 2}
    with guarded.client() as client:
        for pause in (0.0, 0.0, 0.2):
            with client.stream("POST", "/slow", json=pieces) as answer:
                assert answer.status_code == 200
                assert len([line for line in answer.iter_lines() if line]) == 2
            time.sleep(pause)
        assert client.get("/v1/models").status_code == 200


def test_when_the_client_goes_so_does_the_engines_connection(guarded: Running) -> None:
    told = guarded.site.parent / "told"
    asked = {"pieces": 1000, "told": str(told)}
    with guarded.client() as client, client.stream("POST", "/slow", json=asked) as answer:
        next(answer.iter_lines())
    wait_until(lambda: told.exists() and told.read_text(), what="the engine's word of it", timeout=60)
    assert told.read_text().startswith("broken after ")
    with guarded.client() as client:
        wait_until(lambda: counted(client) == 0, what="its end in the count", timeout=60)


def counted(client: httpx.Client) -> int:
    """The requests under way, as the guard's page tells it."""
    return int(client.get("/.ai-how/metrics").text.split()[-1])


def test_requests_under_way_are_counted(guarded: Running) -> None:
    with guarded.client() as one, guarded.client() as other:
        with one.stream("POST", "/slow", json={"pieces": 1000}) as answer:
            lines = answer.iter_lines()
            assert next(lines) and counted(other) == 1
        wait_until(lambda: counted(other) == 0, what="its end in the count", timeout=60)


def test_told_to_end_it_finishes_what_it_answers(tmp_path: Path) -> None:
    model = write_ollama_store(tmp_path / "store")
    running = start(Ollama(), fake_place(tmp_path / "place", "ollama"), model, tmp_path / "site", linger=20)
    with running.client() as client, client.stream("POST", "/slow", json={"pieces": 20}) as answer:
        lines = answer.iter_lines()
        next(lines)
        running.end_all()
        wait_until(lambda: not running.record_path.exists(), what="the record's end", timeout=60)
        assert len([line for line in lines if line]) == 19
    assert running.process.wait(timeout=60) == 0


def test_the_engines_end_is_the_replicas(guarded: Running, tmp_path: Path) -> None:
    model = write_ollama_store(tmp_path / "store")
    running = start(Ollama(), fake_place(tmp_path / "place", "ollama"), model, tmp_path / "site")
    running.record()
    os.kill(running.tree()[-1], signal.SIGKILL)
    said = running.process.communicate(timeout=60)[1]
    assert running.process.returncode == 128 + signal.SIGKILL and "network of its own" in said
    assert guarded.record().port  # the neighbour's is another, and lives


def test_replicas_on_one_node_have_ports_and_secrets_of_their_own(tmp_path: Path) -> None:
    model = write_ollama_store(tmp_path / "store")
    place = fake_place(tmp_path / "place", "ollama")
    together = [start(Ollama(), place, model, tmp_path / f"site{number}") for number in range(4)]
    records = [one.record() for one in together]
    secrets = [secret_of(one) for one in together]
    assert len({record.port for record in records}) == len(set(secrets)) == 4
    url = f"http://127.0.0.1:{records[0].port}/v1/models"
    with httpx.Client(trust_env=False) as client:
        for secret in secrets[1:]:
            assert client.get(url, headers={"authorization": f"Bearer {secret}"}).status_code == 401
    assert [one.end()[0] for one in together] == [0] * 4


def test_on_a_cluster_of_machines_it_listens_on_the_nodes_interface(tmp_path: Path) -> None:
    model = write_ollama_store(tmp_path / "store")
    place = fake_place(tmp_path / "place", "ollama")
    running = start(Ollama(), place, model, tmp_path / "site", listen="node")
    assert running.record().host == replica_launcher.listen_address("node")
    with running.client() as client:
        assert client.get("/v1/models").status_code == 200
    with running.client(secret="") as client:
        assert client.get("/v1/models").status_code == 401
    assert running.end()[0] == 0


def test_a_strangers_server_on_the_port_is_not_the_engine() -> None:
    """By what the kernel says of who listens: a server of another process group is a stranger's."""
    code = "import socket, time; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)"
    words = [sys.executable, "-c", f"{code}; time.sleep(60)"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, process_group=0, text=True) as other:
        assert other.stdout
        port = int(other.stdout.readline())
        try:
            assert replica_guard.is_engines(port, other.pid)
            assert not replica_guard.is_engines(port, os.getpgid(0))
            assert replica_guard.is_engines(port, os.getpgid(0), by_owner=True)
            assert not replica_guard.is_engines(1, other.pid, by_owner=True)
        finally:
            other.kill()


@pytest.mark.needs_root
def test_an_ordinary_user_gets_a_network_for_the_engine_too(tmp_path: Path) -> None:
    if os.getuid():
        pytest.skip("needs root, to become an ordinary user")
    if subprocess.run(["unshare", "--user", "--net", "true"], user=65534, check=False).returncode:
        pytest.skip("the kernel lets no ordinary user make a network")
    for folder in (tmp_path, *tmp_path.parents):
        if "pytest-of-" in str(folder):  # whatever pytest made, one folder more where there are workers
            folder.chmod(0o755)
    model = write_ollama_store(tmp_path / "store")
    place = fake_place(tmp_path / "place", "ollama", "/usr/bin/python3")
    running = start(Ollama(), place, model, tmp_path / "site", user=65534)
    assert running.record().uid == 65534
    assert running.network(running.tree()[-1]) != os.readlink("/proc/self/ns/net")
    with running.client() as client:
        assert client.get("/v1/models").status_code == 200
    assert running.end()[0] == 0


def test_an_engine_that_forgets_its_parent_ends_with_the_guard_all_the_same(tmp_path: Path) -> None:
    """As programs do that run images: they change their rights, and the kernel forgets whose end is theirs."""
    place = fake_place(tmp_path / "place", "ollama")
    program = tmp_path / "place" / "bin" / "ollama"
    program.rename(program.with_name("real"))
    forgets = "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 0); os.execv(sys.argv[1], sys.argv[1:])"
    program.write_text(
        f"#!/bin/sh\nexec {sys.executable} -c '{forgets}' {program.with_name('real')} \"$@\"\n"
    )
    program.chmod(0o755)
    for whose in ("guard", "launcher"):
        model = write_ollama_store(tmp_path / f"store-{whose}")
        running = start(Ollama(), place, model, tmp_path / whose)
        running.record()
        engine = running.tree()[-1]
        assert b"serve" in Path(f"/proc/{engine}/cmdline").read_bytes()
        os.kill(running.child() if whose == "guard" else running.process.pid, signal.SIGKILL)
        wait_until(partial(has_ended, engine), what="the engine's end", timeout=60)
        running.process.communicate(timeout=60)
