"""`ai-how connect`: a gateway at an address, and one behind a real OpenSSH server whose connections break."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import NamedTuple

import pytest
from door import Door, opened
from doubles import FakeEngine
from launched import Running, start
from login_node import LoginNode
from tiny_gguf import write_tiny_gguf

from ai_how import connect, connect_async
from ai_how.cli import main
from ai_how.client import Conversation, NoAnswer, Patience, Refused
from ai_how.errors import CouldNotTell, UsageError
from ai_how.run import wait_until
from ai_how.security import Certificates, write_private
from ai_how.serving.engines import Place
from ai_how.site.tunnel import Tunnel
from ai_how.wire import Demand, ModelRoute, ReplicaRoute, Routes


@pytest.fixture
def near(door: Door, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Door:
    """The environment that says where the gateway is, and no site's file."""
    monkeypatch.setenv("AI_HOW_URL", door.url)
    monkeypatch.setenv("AI_HOW_TOKEN", door.token)
    monkeypatch.chdir(tmp_path)
    return door


class Said(NamedTuple):
    """What a command printed."""

    stdout: str
    stderr: str


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Runs a command line in this process: many are asked here, and an interpreter takes a second to start."""

    def run(*words: str, code: int = 0) -> Said:
        assert main(words) == code, capsys.readouterr()
        return Said(*capsys.readouterr())

    return run


def ai_how(*words: str, code: int = 0, token: str | None = None) -> Said:
    """Runs a command line in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "ai_how", *words], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, **({"AI_HOW_TOKEN": token} if token else {})}, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    return Said(done.stdout, done.stderr)


# --- at an address ------------------------------------------------------------------------------------


def test_exports_without_the_token_where_no_terminal_is(near: Door, said: Callable[..., Said]) -> None:
    done = said("connect", "tiny")
    exports = dict(line.removeprefix("export ").split("=", 1) for line in done.stdout.splitlines())
    assert exports["OPENAI_BASE_URL"] == f"{near.url}/v1" and exports["OLLAMA_HOST"] == near.url
    assert near.token not in done.stdout + done.stderr and "--show-token" in done.stderr
    shown = said("connect", "tiny", "--show-token").stdout
    assert (
        f"export OPENAI_API_KEY={near.token}\n" in shown and f"export OLLAMA_API_KEY={near.token}\n" in shown
    )


def test_a_terminal_is_shown_the_token(near: Door) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "ai_how", "connect", "tiny"], stdout=theirs, stderr=subprocess.DEVNULL
    )
    os.close(theirs)
    said = b""
    while True:
        try:
            said += os.read(ours, 65536)
        except OSError:
            break  # the other side is closed
    os.close(ours)
    assert process.wait(timeout=60) == 0 and near.token.encode() in said


def test_json(near: Door, said: Callable[..., Said]) -> None:
    facts = json.loads(said("connect", "tiny", "--json").stdout)
    assert facts == {"model": "tiny", "url": near.url, "openai_base_url": f"{near.url}/v1", "via": None}
    assert json.loads(said("connect", "tiny", "--json", "--show-token").stdout)["token"] == near.token


def test_a_command_has_it_in_its_environment_and_its_status_is_ours(near: Door) -> None:
    script = 'echo "$OPENAI_BASE_URL $OLLAMA_HOST $OPENAI_API_KEY"; exit 7'
    done = ai_how("connect", "tiny", "--timeout", "30", "--", "sh", "-c", script, code=7)
    assert done.stdout.split() == [f"{near.url}/v1", near.url, near.token]


def test_our_own_client_finds_it_there(near: Door) -> None:
    with connect() as site:
        assert [card.id for card in site.models().data] == ["tiny"]


def test_what_is_wrong_is_said(
    near: Door, said: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "Did you mean 'tiny'" in said("connect", "tinny", code=8).stderr
    assert "does not answer" in said("connect", "tiny", "--url", "http://127.0.0.1:1", code=9).stderr
    missing = said("connect", "tiny", "--token-file", str(tmp_path / "none"), code=8).stderr
    assert "token cannot be read" in missing
    monkeypatch.setenv("AI_HOW_TOKEN", "aihow_wrong")
    refused = said("connect", "tiny", code=1).stderr
    assert "not valid" in refused and "aihow_wrong" not in refused
    monkeypatch.delenv("AI_HOW_TOKEN")
    assert "token is needed" in said("connect", "tiny", code=2).stderr


def test_chat_without_a_terminal_is_a_line_an_answer(
    near: Door, said: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("one\n\ntwo\n"))
    done = said("chat", "tiny", "--json", "--max-tokens", "2", "--system", "Be brief.")
    assert [json.loads(line)["asked"] for line in done.stdout.splitlines()] == ["one", "two"]


def test_a_conversation_by_hand(
    near: Door, said: Callable[..., Said], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody types, interrupts an answer and the line, begins anew, and meets an error on the way."""
    typed = iter(["one", "long", KeyboardInterrupt, "", "/new", "/what", "two", "bad", EOFError])
    sent: list[list[str]] = []

    def type_in(prompt: str) -> str:
        word = next(typed)
        if isinstance(word, str):
            return word
        raise word

    stream = Conversation.stream

    def streamed(talk: Conversation, text: str) -> Iterator[str]:
        sent.append([str(message["content"]) for message in talk.messages if message["role"] == "user"])
        if text == "bad":
            raise Refused("the engine refused: no", status=400)
        yield from stream(talk, text)
        if text == "long":
            raise KeyboardInterrupt

    monkeypatch.setattr(Conversation, "stream", streamed)
    monkeypatch.setattr("builtins.input", type_in)
    monkeypatch.setattr("sys.stdin", Typing())
    done = said("chat", "tiny", "--max-tokens", "3")
    assert sent == [[], ["one"], [], ["two"]], "an answer that was interrupted stays, /new forgets"
    assert "Ctrl-D ends the conversation." in done.stderr and "is forgotten" in done.stderr
    assert "the engine refused: no" in done.stderr and done.stderr.count("/help") == 2


class Typing(io.StringIO):
    """A terminal, as far as the command asks."""

    def isatty(self) -> bool:
        return True


def test_a_model_that_sleeps_is_woken(
    said: Callable[..., Said], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The gateway tells of the demand; only then, and once somebody was told of the wait, is there a replica."""
    monkeypatch.chdir(tmp_path)
    routes, demand = tmp_path / "routes.json", tmp_path / "demand.sock"
    asleep = ModelRoute(model="tiny", state="asleep", wakes=True)
    write_private(routes, Routes(generation=1, models=(asleep,)).model_dump_json())
    started: list[Running] = []
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told,
        opened(tmp_path, routes=str(routes), demand=str(demand)) as door,
    ):
        told.bind(str(demand))
        told.settimeout(60)

        def bring() -> None:
            while (
                not (wanted := Demand.model_validate_json(told.recv(65536)).models.get("tiny"))
                or not wanted.waiting
            ):
                pass
            wait_until(lambda: "/v1/models" in door.log.read_text(), what="a look at the model", timeout=60)
            model = write_tiny_gguf(tmp_path / "tiny.gguf")
            running = start(FakeEngine(), Place.of_python(Path(sys.executable)), model, tmp_path)
            started.append(running)
            record = running.record()
            ready = ModelRoute(model="tiny", state="ready", replicas=(ReplicaRoute(nonce=record.nonce),))
            write_private(routes, Routes(generation=2, models=(ready,)).model_dump_json())

        bringing = threading.Thread(target=bring)
        bringing.start()
        monkeypatch.setenv("AI_HOW_TOKEN", door.token)
        done = said("connect", "tiny", "--url", door.url, "--timeout", "60")
        bringing.join()
        started[0].end()
    assert "waiting for tiny, which is asleep" in done.stderr and "tiny answers" in done.stderr
    assert f"export OPENAI_BASE_URL={door.url}/v1" in done.stdout


# --- behind SSH ---------------------------------------------------------------------------------------


def test_the_far_side_is_asked_where_its_gateway_is(login: LoginNode, door: Door) -> None:
    """The account has no Python, so a script stands for `ai-how shell --json` there."""
    facts = json.dumps({"OLLAMA_HOST": door.url, "OPENAI_API_KEY": door.token})
    script = login.folder / "bin" / "ai-how"
    script.write_text(f"#!/bin/sh\n[ \"$*\" = 'shell --json --file far.yaml' ] && echo '{facts}'\n")
    script.chmod(0o755)
    with connect("far.yaml", via="login", ssh_config=login.config) as site:
        assert site.url != door.url and [card.id for card in site.models().data] == ["tiny"]
    with pytest.raises(CouldNotTell, match="cannot be read"):
        connect(via="login", ssh_config=login.config, program="true")
    script.unlink()


def test_a_gateway_with_tls_is_known_by_its_own_certificate(login: LoginNode, tmp_path: Path) -> None:
    """Asked directly, and through a tunnel with the certificate that the far side names; a stranger's is refused."""
    site, stranger = Certificates(tmp_path / "tls", "site"), Certificates(tmp_path / "strange", "strange")
    for one in (site, stranger):
        one.folder.mkdir()
        one.renew("gateway", ["127.0.0.1"], 30, time.time())
    pem = str(site.of("gateway"))
    there = login.folder / "bundle.pem"
    there.write_text(site.bundle.read_text())
    there.chmod(0o644)
    with opened(tmp_path, site.ca, tls={"certificate": pem, "key": pem}) as door:
        for ca in (site.ca, stranger.ca):
            with connect(url=door.url, token=door.token, ca=ca) as client:
                assert client.healthy() is (ca == site.ca)
        facts = {"OLLAMA_HOST": door.url, "OPENAI_API_KEY": door.token, "SSL_CERT_FILE": str(there)}
        script = login.folder / "bin" / "ai-how"
        script.write_text(f"#!/bin/sh\necho '{json.dumps(facts)}'\n")
        script.chmod(0o755)
        with connect(via="login", ssh_config=login.config) as client:
            assert client.url.startswith("https://127.0.0.1:") and client.models().data == ()
        script.unlink()


def test_a_tunnel_comes_back_after_its_connection_broke(login: LoginNode, door: Door) -> None:
    """First our side of the connection is killed, then the server and all its sessions, then the server is back."""
    patience = Patience(reconnect=60)
    with connect(
        via="login", ssh_config=login.config, url=door.url, token=door.token, patience=patience
    ) as site:
        assert site.chat("tiny", "hi", max_tokens=1).finish_reason == "length"
        kill_master(site.url)
        assert site.chat("tiny", "hi", max_tokens=1).finish_reason == "length"
        login.stop()
        try:
            wait_until(lambda: not site.healthy(), what="the tunnel's end", timeout=60)
        finally:
            login.start()
        assert site.chat("tiny", "hi", max_tokens=1).finish_reason == "length"
        url = site.url
    assert not listening(url), "closing the client ends its tunnel"


class Halting(BaseHTTPRequestHandler):
    """Answers with one piece of a stream, and says nothing more."""

    protocol_version = "HTTP/1.1"
    over = threading.Event()

    def do_POST(self) -> None:
        self.send_response(200)
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        event = b'data: {"choices": [{"delta": {"content": "a"}}]}\n\n'
        self.wfile.write(f"{len(event):x}\r\n".encode() + event + b"\r\n")
        self.over.wait(30)

    def log_message(self, format: str, *args: object) -> None:
        return


def test_an_answer_under_way_is_lost_with_its_tunnel_and_says_so(login: LoginNode) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Halting)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        with connect(via="login", ssh_config=login.config, url=url, token="t") as site:
            stream = site.chat("tiny", "hi", stream=True)
            assert next(stream) == "a"
            kill_master(site.url)
            with pytest.raises(NoAnswer, match="broke off"):
                next(stream)
    finally:
        Halting.over.set()
        server.shutdown()


def test_connect_runs_a_command_through_a_tunnel(login: LoginNode, door: Door) -> None:
    script = 'echo "$OPENAI_BASE_URL"; exit 3'
    done = ai_how(
        "connect", "tiny", "--via", "login", "--ssh-config", str(login.config), "--url", door.url,
        "--", "sh", "-c", script, token=door.token, code=3,
    )  # fmt: skip
    url = done.stdout.strip().removesuffix("/v1")
    assert url.startswith("http://127.0.0.1:") and url != door.url and not listening(url)


def test_connect_keeps_the_tunnel_until_it_is_interrupted(login: LoginNode, door: Door) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "ai_how", "connect", "tiny", "--via", "login", "--ssh-config", str(login.config),
         "--url", door.url, "--json"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "AI_HOW_TOKEN": door.token},
    )  # fmt: skip
    assert process.stdout is not None and process.stderr is not None
    while "Ctrl-C closes it" not in (line := process.stderr.readline()):
        assert line, process.communicate()
    process.send_signal(signal.SIGINT)
    printed, more = process.communicate(timeout=60)
    assert process.returncode == 0 and "The tunnel is closed." in more and "Traceback" not in more
    url = json.loads(printed)["url"]
    assert url.startswith("http://127.0.0.1:") and url != door.url and not listening(url)


def test_a_machine_that_is_not_there(login: LoginNode, door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = login.folder / "t"  # a short path: sockets are made in it
    folders.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folders))
    with pytest.raises(CouldNotTell):
        connect(via="nowhere.invalid", ssh_config=login.config, url=door.url, token=door.token)
    with pytest.raises(UsageError, match="no gateway's address"):
        connect_async(via="login", url="far:8080", token="t")
    assert not list(folders.iterdir()), "what was begun is taken back"


def kill_master(url: str) -> None:
    """Kill the ssh that listens at the tunnel's near end."""
    port = int(url.rsplit(":", 1)[1])
    inode = next(
        fields[9]
        for fields in (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
        if fields[1] == f"0100007F:{port:04X}" and fields[3] == "0A"
    )
    for link in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if os.readlink(link) == f"socket:[{inode}]":
                os.kill(int(link.parts[2]), signal.SIGKILL)
                return
        except OSError:
            continue
    raise AssertionError("nobody listens there")


def listening(url: str) -> bool:
    host, port = url.removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        return False
    return True


def test_the_keeper_says_what_happens(login: LoginNode, door: Door) -> None:
    said: list[str] = []
    port = int(door.url.rsplit(":", 1)[1])
    tunnel = Tunnel(login.master("keeper"), "127.0.0.1", port, notify=said.append)
    try:
        kill_master(f"http://127.0.0.1:{tunnel.local[1]}")
        wait_until(lambda: "the tunnel is back" in said, what="the tunnel's return", timeout=60)
        assert said[0].endswith("it is made anew")
    finally:
        tunnel.close()
        tunnel.close()
