"""A machine behind the system's own ``ssh``: one master connection, and programs run through it.

The user's own configuration, keys, agent, second factor and jump hosts are ssh's affair; host keys are always checked
strictly. Everything that is asked of the far side goes through standard input: what is run, its environment and its
working directory stand in no argument list, here or there, and no login shell gets to read it.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import shlex
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import IO, NoReturn

from ai_how.errors import AiHowError, CommandFailed, CouldNotTell, MissingProgram, TimedOut, UsageError
from ai_how.run.model import Command, Completed
from ai_how.run.ssh_faults import denied, fault

log = logging.getLogger("ai_how.run")

#: ssh's own exit status; what is run on the far side may end with it, too, and then says so.
OWN_STATUS = 255
MISSING_STATUS = 127
#: Seconds after its last use that the master stays.
PERSIST = 600
#: Seconds that connecting may take: without somebody at a terminal, and with.
CONNECT_SECONDS, ASK_SECONDS = 20, 180
#: Seconds before somebody who asks nobody tries again: at most while the way is barred, and after a denial.
PAUSE_MOST, LONG_PAUSE = 60.0, 300.0
#: Bytes of a file on their way.
_PIECE = 1 << 20


@dataclass(frozen=True)
class SshTarget:
    """Where ssh goes. What is left out is for ssh and its configuration to say."""

    host: str
    user: str | None = None
    port: int | None = None
    identity_file: Path | None = None
    jump_host: str | None = None
    config_file: Path | None = None

    @property
    def options(self) -> tuple[str, ...]:
        """The options that say it."""
        return (
            *(("-F", str(self.config_file)) if self.config_file else ()),
            *(("-p", str(self.port)) if self.port else ()),
            *(("-i", str(self.identity_file)) if self.identity_file else ()),
            *(("-J", self.jump_host) if self.jump_host else ()),
        )

    @property
    def destination(self) -> str:
        return f"{self.user}@{self.host}" if self.user else self.host


def _take_back(lock: Path, made: Sequence[Path]) -> None:
    """What was made for a connection that did not come about, as long as nobody has put anything there."""
    if made:
        lock.unlink(missing_ok=True)
    with suppress(OSError):
        for folder in made:
            folder.rmdir()


class SshMaster:
    """The one connection that everything shares, whoever opened it.

    ``control`` is its Unix socket; ssh adds 17 characters to that path for a moment, and 107 are possible. With ``ask``
    somebody sits at the terminal who can be asked for a passphrase or a second factor; without, ssh asks nothing.
    """

    def __init__(self, target: SshTarget, control: Path, *, ask: bool = False, program: str = "ssh") -> None:
        self.target = target
        self._control = control
        self._ask = ask
        self._program = program
        self._refused: tuple[float, float, CouldNotTell] | None = None

    def words(self, *more: str, remote: str | None = None) -> list[str]:
        """An ``ssh`` that goes through the master, and would ask nothing if that were gone."""
        words = [self._program, *self._always(), "-o", "BatchMode=yes", "-o", "ControlMaster=no", *more]
        return [*words, "--", self.target.destination, *([remote] if remote is not None else [])]

    @property
    def alive(self) -> bool:
        """Whether the master accepts; says nothing of the network behind it."""
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self._control))
            except OSError:
                return False
        return True

    def open(self) -> None:
        """Connect, unless that is done. Raises :class:`CouldNotTell` with the cause."""
        if self.alive:
            return
        folder = self._control.parent
        made = [one for one in (folder, *folder.parents) if not one.exists()]
        path = self._control.with_suffix(".lock")
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            with path.open("w") as lock:
                # Two commands that begin at once must not both ask for a second factor.
                fcntl.flock(lock, fcntl.LOCK_EX)
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)  # the other one may have taken it back
                if not self.alive:
                    self._connect_seldom()
        except BaseException:
            _take_back(path, made)
            raise

    def _connect_seldom(self) -> None:
        """Centres bar who fails often: a daemon that is refused tries again after a while, and longer each time."""
        now = time.monotonic()
        if self._refused is not None and now < self._refused[0]:
            raise self._refused[2]
        try:
            self._connect()
        except CouldNotTell as error:
            if not self._ask:
                pause = LONG_PAUSE if denied(error) else 2.0
                if self._refused is not None:
                    pause = max(pause, min(2 * self._refused[1], PAUSE_MOST))
                self._refused = now + pause, pause, error
            raise
        self._refused = None

    def _connect(self) -> None:
        self._control.unlink(missing_ok=True)
        words = [
            self._program, *self._always(), "-M", "-N", "-f", "-o", f"ControlPersist={PERSIST}",
            "-o", f"BatchMode={'no' if self._ask else 'yes'}", "-o", f"ConnectTimeout={CONNECT_SECONDS}",
            "-o", "ServerAliveInterval=15", "-o", "ServerAliveCountMax=3", "--", self.target.destination,
        ]  # fmt: skip
        log.debug("run: %s", shlex.join(words))
        # The master keeps what it is given as outputs: a file, not a pipe that nobody would ever see closed.
        with tempfile.TemporaryFile() as said:
            try:
                done = subprocess.run(
                    words,
                    env=_unmarked(),
                    stdin=None if self._ask else subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    timeout=ASK_SECONDS if self._ask else CONNECT_SECONDS + 10,
                    check=False,
                )
            except FileNotFoundError as error:
                raise _no_ssh(self._program) from error
            except subprocess.TimeoutExpired as error:
                raise fault(self.target.destination, "Connection timed out") from error
            if done.returncode:
                raise fault(self.target.destination, _text(said))

    def control(self, action: str, *words: str) -> Completed:
        """Tell the master (``ssh -O``): forward, cancel, exit."""
        # Without the user's configuration: forwards that stand in it would be asked for again.
        words = ("-F", "none", "-S", str(self._control), "-O", action, *words)
        argv = [self._program, *words, "--", self.target.destination]
        begun = time.monotonic()
        try:
            done = subprocess.run(
                argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False
            )
        except FileNotFoundError as error:
            raise _no_ssh(self._program) from error
        except subprocess.TimeoutExpired as error:
            raise CouldNotTell(f"the connection to {self.target.host} does not answer") from error
        command = Command(tuple(argv))
        return Completed(command, done.returncode, done.stdout, done.stderr, time.monotonic() - begun)

    def close(self) -> None:
        """End the connection, whoever opened it; nothing happens when there is none."""
        if self.alive:
            self.control("exit")
        self._control.unlink(missing_ok=True)

    def _always(self) -> tuple[str, ...]:
        """What is ours to say, whatever the user's configuration says of the same host for interactive use."""
        ours = (
            "StrictHostKeyChecking=yes", "ForwardAgent=no", "ForwardX11=no", "ClearAllForwardings=yes",
            "RequestTTY=no", "RemoteCommand=none", "PermitLocalCommand=no", "LogLevel=ERROR",
        )  # fmt: skip
        options = (word for option in ours for word in ("-o", option))
        return (*self.target.options, "-S", str(self._control), *options)


class SshGate:
    """Runs programs on the far side; satisfies :class:`ai_how.run.Gate`.

    A program that is not there is :class:`MissingProgram`, a machine that cannot be reached :class:`CouldNotTell` with
    the cause. Nothing is tried a second time: what was sent may have been done.
    """

    def __init__(self, master: SshMaster) -> None:
        self.master = master

    @property
    def host(self) -> str:
        return self.master.target.host

    def run(self, command: Command, *, check: bool = True) -> Completed:
        text = (command.stdin or "").encode()
        return self.feed(command, [text] if text else [], check=check)

    def feed(
        self,
        command: Command,
        pieces: Iterable[bytes],
        *,
        check: bool = True,
        sink: IO[bytes] | None = None,
    ) -> Completed:
        """Run with ``pieces`` as standard input, however large; the command's own ``stdin`` is left aside.

        With a ``sink``, a real file, standard output goes there byte for byte, and the answer has none.
        """
        log.debug("run on %s: %s", self.host, command.paste())
        self.master.open()
        mark = secrets.token_hex(8)
        script = _script(command, mark).encode()
        remote = f"exec sh -c 'eval \"$(head -c {len(script)})\"'"
        begun = time.monotonic()
        status, out, err = self._exchange(remote, chain([script], pieces), command, sink)
        err, own = _without(err, mark)
        if own == "missing":
            raise self._missing(command)
        if status == OWN_STATUS and own != "own":
            raise fault(self.master.target.destination, err, command=command.paste())
        result = Completed(command, status, out, err, time.monotonic() - begun)
        if check and not result.ok:
            raise CommandFailed(
                f"{Path(command.argv[0]).name} ended with exit status {status}",
                where=self._where(command),
                detail=result.tail() or None,
            )
        return result

    def _exchange(
        self, remote: str, pieces: Iterable[bytes], command: Command, sink: IO[bytes] | None
    ) -> tuple[int, str, str]:
        # Outputs go to files: a program that says much while it is fed would otherwise wait for us for ever.
        with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            with subprocess.Popen(
                self.master.words(remote=remote), stdin=subprocess.PIPE, stdout=sink or out, stderr=err
            ) as process:
                try:
                    _pour(process, pieces, time.monotonic() + command.timeout)
                    status = process.wait(timeout=command.timeout)
                except subprocess.TimeoutExpired as error:
                    process.kill()
                    raise TimedOut(
                        f"{command.argv[0]} did not end within {command.timeout:g} s",
                        where=self._where(command),
                    ) from error
                except BaseException:
                    process.kill()
                    raise
            return status, _text(out), _text(err)

    def start(self, command: Command, output: Path) -> int:
        """``output`` is a file on the far side; so is the process id."""
        line = shlex.join(command.argv)
        script = f"nohup {line} </dev/null >>{shlex.quote(str(output))} 2>&1 & echo $!"
        argv = ("sh", "-c", script)
        return int(self.run(Command(argv, env=command.env, cwd=command.cwd, user=command.user)).stdout)

    def pass_through(self, command: Command) -> int:
        self.master.open()
        return subprocess.run(self._interactive(command), check=False).returncode

    def replace(self, command: Command) -> NoReturn:
        self.master.open()
        words = self._interactive(command)
        os.execvp(words[0], words)

    def _interactive(self, command: Command) -> list[str]:
        """On this terminal, so standard input is the user's: here the words must stand in the command line.

        With a terminal there only where all of it is one here: what goes into a file or a pipe is kept as it is.
        """
        terminal = ("-o", "RequestTTY=force") if os.isatty(0) and os.isatty(1) else ()
        words = self.master.words(remote=f"exec sh -c {shlex.quote(_line(command))}")
        return [words[0], *terminal, *words[1:]]

    def _missing(self, command: Command) -> MissingProgram:
        return MissingProgram(
            f"{command.argv[0]} is not there",
            where=self._where(command),
            cause=f"it is not on the PATH that {self.host} gives to commands that come by SSH",
            todo="Name its folder in the site's file: clusters.hpc.existing.commands.",
        )

    def _where(self, command: Command) -> str:
        return f"{self.host}: {command.paste()}"


def _unmarked() -> dict[str, str]:
    """The environment without the marks of a service: the master is everybody's, and outlives who opened it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("AI_HOW_")}


def _line(command: Command) -> str:
    """What a shell does for a command: environment, folder, program."""
    if command.user is not None:
        raise UsageError("a program behind SSH runs as the user who logs in", where=command.paste())
    lines = [f"export {name}={shlex.quote(value)};" for name, value in command.env.items()]
    if command.cwd is not None:
        lines.append(f"cd {shlex.quote(str(command.cwd))} || exit;")
    return " ".join([*lines, shlex.join(command.argv)])


def _script(command: Command, mark: str) -> str:
    """The same, and two words for us on standard error: that the program is not there; that the status is its own."""
    program = shlex.quote(command.argv[0])
    line = _line(command)
    return "\n".join(
        [
            f"command -v {program} >/dev/null 2>&1 || {{ echo '{mark} missing' >&2; exit {MISSING_STATUS}; }}",
            line,
            "status=$?",
            f"[ $status -ne {OWN_STATUS} ] || echo '{mark} own' >&2",
            "exit $status",
        ]
    )


def _without(said: str, mark: str) -> tuple[str, str]:
    """Standard error without our word in it, and the word."""
    before, found, after = said.partition(f"{mark} ")
    if not found:
        return said, ""
    word, _, rest = after.partition("\n")
    return before + rest, word


def _pour(process: subprocess.Popen[bytes], pieces: Iterable[bytes], until: float) -> None:
    """Feed a process. One that ends before it has read all of it says so by its status."""
    assert process.stdin is not None
    try:
        for piece in pieces:
            process.stdin.write(piece)
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired(process.args, 0)
        process.stdin.close()
    except BrokenPipeError:
        return


def pieces_of(path: Path) -> Iterable[bytes]:
    """A file, piece by piece."""
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _no_ssh(program: str) -> AiHowError:
    return MissingProgram(f"{program} is not there", todo="Install OpenSSH's client (openssh-client).")
