"""The gate: the same tests for the real one and for the fake that other tests hold in their hand."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest
from login_node import LoginNode

from ai_how.errors import CommandFailed, MissingProgram, NotFound, TimedOut
from ai_how.run import Command, Gate, LocalGate, SshGate, wait_until
from ai_how.run.fake import ScriptedGate


def scripted() -> ScriptedGate:
    return ScriptedGate(
        [
            (["sh", "-c", "echo out; echo err >&2; exit 3"], (3, "out\n", "err\n")),
            (["sh", "-c", 'echo "$WORD"'], lambda command: (0, command.env["WORD"] + "\n", "")),
            (["cat"], lambda command: (0, command.stdin or "", "")),
            (["true"], (0, "", "")),
            (["false"], (1, "", "")),
        ]
    )


@pytest.fixture(params=["real", "ssh", "fake"])
def gate(request: pytest.FixtureRequest) -> Gate:
    if request.param == "ssh":
        login: LoginNode = request.getfixturevalue("login")
        return login.gate()
    return LocalGate() if request.param == "real" else scripted()


@pytest.fixture
def place(request: pytest.FixtureRequest, gate: Gate, tmp_path: Path) -> Path:
    """A folder where the gate's programs may write."""
    return request.getfixturevalue("login").home if isinstance(gate, SshGate) else tmp_path


class TestAnyGate:
    def test_status_and_both_outputs_come_back(self, gate: Gate) -> None:
        done = gate.run(Command(("sh", "-c", "echo out; echo err >&2; exit 3")), check=False)
        assert (done.returncode, done.stdout, done.stderr, done.ok) == (3, "out\n", "err\n", False)
        assert done.tail() == "err"

    def test_a_failure_is_an_error_that_can_be_pasted(self, gate: Gate) -> None:
        with pytest.raises(CommandFailed) as caught:
            gate.run(Command(("sh", "-c", "echo out; echo err >&2; exit 3")))
        assert caught.value.message == "sh ended with exit status 3"
        host = "login: " if isinstance(gate, SshGate) else ""
        assert caught.value.where == f"{host}sh -c 'echo out; echo err >&2; exit 3'"
        assert caught.value.detail == "err"

    def test_environment_and_input_reach_the_program(self, gate: Gate) -> None:
        assert gate.run(Command(("sh", "-c", 'echo "$WORD"'), env={"WORD": "a b"})).stdout == "a b\n"
        assert gate.run(Command(("cat",), stdin="secret")).stdout == "secret"

    def test_passing_through_gives_the_status(self, gate: Gate) -> None:
        assert gate.pass_through(Command(("true",))) == 0
        assert gate.pass_through(Command(("false",))) == 1

    def test_starting_gives_a_process(self, gate: Gate, place: Path) -> None:
        assert gate.start(Command(("true",)), place / "log") > 0


class TestTheRealGate:
    def test_what_is_not_there(self, tmp_path: Path) -> None:
        gate, command = LocalGate(), Command(("/no/such/program",))
        for attempt in (
            gate.run,
            gate.pass_through,
            gate.replace,
            lambda one: gate.start(one, tmp_path / "log"),
        ):
            with pytest.raises(MissingProgram, match="/no/such/program is not there"):
                attempt(command)

    def test_what_takes_too_long(self) -> None:
        with pytest.raises(TimedOut, match=r"sleep did not end within 0\.1 s"):
            LocalGate().run(Command(("sleep", "30"), timeout=0.1))

    def test_what_is_no_text_is_shown_all_the_same(self) -> None:
        assert "\ufffd" in LocalGate().run(Command(("printf", r"\377"))).stdout

    def test_a_started_program_has_a_session_and_a_log_of_its_own(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        log.write_text("before\n")
        pid = LocalGate().start(Command(("sh", "-c", "echo said; exec sleep 30"), cwd=tmp_path), log)
        wait_until(lambda: "said" in log.read_text(), what="the program's output", timeout=60)
        assert log.read_text() == "before\nsaid\n"
        assert os.getsid(pid) == pid != os.getsid(0)
        os.kill(pid, 9)
        os.waitpid(pid, 0)

    def test_a_line_that_is_pasted_does_the_same(self) -> None:
        command = Command(("printf", "%s|", "it's", "a b", "$HOME", ""), env={"X": "1 2"}, cwd=Path("/tmp"))
        pasted = LocalGate().run(Command(("sh", "-c", command.paste())))
        assert pasted.stdout == LocalGate().run(command).stdout == "it's|a b|$HOME||"

    def test_a_secret_on_standard_input_is_in_no_line_and_no_representation(self) -> None:
        command = Command(("cat",), stdin="the secret")
        assert "the secret" not in command.paste() + repr(command)

    @pytest.mark.parametrize(
        "name", ["OPENAI_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AI_HOW_TOKEN", "PGPASSWORD"]
    )
    def test_a_secret_in_a_variable_is_in_no_error_of_a_program_that_is_not_there(self, name: str) -> None:
        """As of `ai-how shell -- sbtach`, whose variables have the gateway's token."""
        command = Command(("sbtach",), env={name: "the secret", "PGPASSFILE": "/etc/pgpass", "SSL_X": "y"})
        with pytest.raises(MissingProgram) as caught:
            LocalGate().replace(command)
        assert "the secret" not in json.dumps(caught.value.as_json()) + repr(command)
        assert caught.value.where == f"{name}='[redacted]' PGPASSFILE=/etc/pgpass SSL_X=y sbtach"


def test_the_fake_knows_what_it_was_asked_and_refuses_what_it_was_not_told() -> None:
    gate = scripted()
    gate.run(Command(("/usr/bin/true", "--now")))
    assert [command.argv for command in gate.commands] == [("/usr/bin/true", "--now")]
    with pytest.raises(AssertionError, match="no answer for: reboot"):
        gate.run(Command(("reboot",)))


def test_what_is_handed_over_is_utf8_whatever_the_terminal_speaks() -> None:
    """A batch script, a model's name: in another encoding its letters would be lost without a word."""
    script = (
        "from ai_how.run import Command, LocalGate\n"
        "done = LocalGate().run(Command(('cat',), stdin='\\u00fc\\u4e2d'))\n"
        "assert done.stdout == '\\u00fc\\u4e2d', ascii(done.stdout)\n"
    )
    words = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    LocalGate().run(Command((sys.executable, "-c", script), env=words))


def test_a_folder_that_is_not_there_is_not_taken_for_the_program(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="the folder .* is not there"):
        LocalGate().run(Command(("true",), cwd=tmp_path / "none"))
