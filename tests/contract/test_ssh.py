"""SSH as it goes wrong: what is said of it, what is never done, and how it comes back. Against a real server."""

from __future__ import annotations

import os
import signal
import socket
import socketserver
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from login_node import LoginNode, login_node

from ai_how.cli import main
from ai_how.errors import AiHowError, CouldNotTell, MissingProgram, TimedOut, UsageError
from ai_how.run import Command, SshGate, SshMaster, SshTarget, SshTunnels, wait_until


class Echo(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        self.wfile.write(self.rfile.readline())


@pytest.fixture(scope="module")
def echo() -> Iterator[int]:
    """What listens on a node: the port of a server that says what it hears."""
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def heard(address: tuple[str, int]) -> bytes:
    with socket.create_connection(address, timeout=60) as connection:
        connection.sendall(b"hello\n")
        return connection.makefile("rb").readline()


def pid_of(master: SshMaster) -> int:
    """``Master running (pid=123)``"""
    return int(master.control("check").stderr.partition("pid=")[2].partition(")")[0])


def kill(master: SshMaster) -> None:
    os.kill(pid_of(master), signal.SIGKILL)
    wait_until(lambda: not master.alive, what="the master's end", timeout=60)


def refused(gate: SshGate) -> AiHowError:
    with pytest.raises(CouldNotTell, match="cannot be reached") as caught:
        gate.run(Command(("true",)))
    return caught.value


class TestAConnection:
    def test_is_made_once_and_shared_by_all(self, login: LoginNode) -> None:
        gate = login.gate("shared")
        assert not gate.master.alive
        gate.run(Command(("true",)))
        first = pid_of(gate.master)
        login.gate("shared").run(Command(("true",)))
        assert pid_of(gate.master) == first
        gate.master.close()
        assert not gate.master.alive
        gate.master.close()

    def test_that_was_killed_is_made_again(self, login: LoginNode) -> None:
        gate = login.gate("killed")
        gate.run(Command(("true",)))
        kill(gate.master)
        assert gate.run(Command(("echo", "again"))).stdout == "again\n"

    def test_that_breaks_under_a_command_is_neither_success_nor_failure(self, login: LoginNode) -> None:
        gate, mark = login.gate("breaks"), login.home / "begun"
        gate.master.open()
        caught: list[BaseException] = []

        def run() -> None:
            try:
                gate.run(Command(("sh", "-c", f"touch {mark}; sleep 20")))
            except CouldNotTell as error:
                caught.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        wait_until(mark.exists, what="the command", timeout=60)
        kill(gate.master)
        thread.join(timeout=60)
        assert caught and "login: sh -c" in str(caught[0].where)  # type: ignore[attr-defined]


class TestWhatIsAsked:
    def test_stands_in_no_argument_list(self, login: LoginNode) -> None:
        gate = login.gate()
        command = Command(("sh", "-c", "cat /proc/*/cmdline"), env={"TOKEN": "a-secret-of-mine"}, stdin="x")
        done = gate.run(command, check=False)
        assert done.stdout and "a-secret-of-mine" not in done.stdout
        assert "a-secret-of-mine" not in " ".join(gate.master.words(remote="x"))

    def test_arrives_whatever_stands_in_it(self, login: LoginNode) -> None:
        words = ("it's", 'a "b"', "$HOME", "`id`", "a\nb", "", "*", "!x", "\\", "ü")
        done = login.gate().run(
            Command(("printf", "%s|", *words), env={"A": "it's $HOME\n"}, cwd=Path("/tmp"))
        )
        assert done.stdout == "".join(f"{word}|" for word in words)

    def test_a_status_of_its_own_is_not_taken_for_the_connections(self, login: LoginNode) -> None:
        done = login.gate().run(Command(("sh", "-c", "echo mine >&2; exit 255")), check=False)
        assert (done.returncode, done.stderr) == (255, "mine\n")

    def test_a_program_that_is_not_there(self, login: LoginNode) -> None:
        with pytest.raises(MissingProgram, match="python3 is not there") as caught:
            login.gate().run(Command(("python3", "--version")))
        assert "clusters.hpc.existing.commands" in (caught.value.todo or "")

    def test_what_takes_too_long(self, login: LoginNode) -> None:
        with pytest.raises(TimedOut, match=r"sleep did not end within 0\.5 s"):
            login.gate().run(Command(("sleep", "20"), timeout=0.5))

    def test_nobody_else_is_become(self, login: LoginNode) -> None:
        with pytest.raises(UsageError, match="as the user who logs in"):
            login.gate().run(Command(("true",), user="root"))


class TestWhoIsNotLetIn:
    """Nothing is asked, nothing is tried twice, and the cause is said."""

    def gate(self, login: LoginNode, config: str, name: str) -> SshGate:
        path = login.folder / f"config-{name.replace('/', '-')}"
        path.write_text(login.config.read_text().replace("Host login\n", f"Host login\n{config}\n"))
        master = SshMaster(SshTarget("login", config_file=path), login.folder / name)
        return SshGate(master)

    def test_a_wrong_key(self, login: LoginNode) -> None:
        gate = self.gate(login, f"  IdentityFile {login.folder / 'stranger'}", "wrong")
        # A second line for the same option adds a key: this one must be alone.
        path = login.folder / "config-wrong"
        path.write_text(path.read_text().replace(f"  IdentityFile {login.folder / 'key'}\n", ""))
        error = refused(gate)
        assert "accepts neither the key" in str(error.cause) and "ssh login" in str(error.todo)

    def test_a_host_key_that_nobody_knows(self, login: LoginNode) -> None:
        error = refused(self.gate(login, "  UserKnownHostsFile /dev/null", "unknown"))
        assert "never accepted" in str(error.cause) and "fingerprint" in str(error.todo)

    def test_a_host_that_is_down(self, login: LoginNode) -> None:
        error = refused(self.gate(login, "  Port 9", "down"))
        assert error.cause == "nothing listens there"

    def test_a_host_that_is_down_leaves_no_folder_behind(self, login: LoginNode) -> None:
        error = refused(self.gate(login, "  Port 9", "new/run/down"))
        assert error.cause == "nothing listens there" and not (login.folder / "new").exists()
        file, root = login.folder / "cluster.yaml", login.folder / "root"
        config = login.folder / "config-new-run-down"
        file.write_text(
            'version: "1.0"\nmetadata: {name: down}\nclusters:\n  hpc:\n    provider: existing\n'
            f"    existing: {{host: login, config_file: {config}}}\n  cloud:\n    services:\n"
            "      {postgresql: {enabled: false}, object_store: {enabled: false}, mlflow: {enabled: false}}\n"
        )
        for verb in ("plan", "up"):
            assert main([verb, "--file", str(file), "--root", str(root)]) == CouldNotTell.exit_code
            assert not root.exists(), verb

    def test_a_name_that_stands_for_nothing(self, login: LoginNode) -> None:
        error = refused(self.gate(login, "  HostName no.such.host.invalid", "name"))
        assert "stands for no address" in str(error.cause)

    def test_a_daemon_that_is_refused_does_not_knock_again_at_once(self, login: LoginNode) -> None:
        knocks: list[int] = []

        class Shut(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                knocks.append(1)

        with socketserver.TCPServer(("127.0.0.1", 0), Shut) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            gate = self.gate(login, f"  Port {server.server_address[1]}", "shut")
            first = refused(gate)
            assert refused(gate) is first and len(knocks) == 1
            server.shutdown()

    def test_a_host_key_that_has_changed(self) -> None:
        with login_node() as node:
            gate = node.gate()
            gate.run(Command(("true",)))
            node.stop()
            node.start(host_key="another")
            wait_until(lambda: not gate.master.alive, what="the master noticing", timeout=60)
            error = refused(gate)
        assert "another one than the one that is known" in str(error.cause)
        assert "ssh-keygen -R" in str(error.todo) and not gate.master.alive


class TestTunnels:
    def test_lead_to_a_port_there_and_end(self, login: LoginNode, echo: int) -> None:
        tunnels = SshTunnels(login.master("tunnel"))
        address = tunnels.local("127.0.0.1", echo)
        assert address[0] == "127.0.0.1" and address[1] != echo
        assert heard(address) == b"hello\n"
        assert tunnels.local("127.0.0.1", echo) == address
        tunnels.close("127.0.0.1", echo)
        with pytest.raises(OSError):
            heard(address)
        tunnels.close("127.0.0.1", echo)

    def test_keep_their_address_when_the_connection_is_made_anew(self, login: LoginNode, echo: int) -> None:
        master = login.master("again")
        tunnels = SshTunnels(master)
        address = tunnels.local("127.0.0.1", echo)
        kill(master)
        assert tunnels.local("127.0.0.1", echo) == address
        assert heard(address) == b"hello\n"

    def test_a_short_round_trip(self, login: LoginNode) -> None:
        """Through the master no new key exchange takes place: a command takes a fraction of a connection."""
        gate = login.gate("quick")
        begun = time.monotonic()
        gate.run(Command(("true",)))
        first = time.monotonic() - begun
        begun = time.monotonic()
        for _ in range(5):
            gate.run(Command(("true",)))
        assert (time.monotonic() - begun) / 5 < first
