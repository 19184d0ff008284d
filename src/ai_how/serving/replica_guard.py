"""Stands in front of an engine that knows no secrets: `python replica_guard.py --address-file FILE -- ENGINE ...`.

Standard library only, Python 3.9 or newer, like the replica launcher, which starts it in the engine's place. It takes a
free port itself, then starts the engine where no other user of the node reaches it: in a network of its own where the
kernel lets it make one, else on loopback. It lets in only requests with the replica's secret, takes the secret out, and
passes bytes on as they come, in both directions. When the client goes away, so does the engine's connection.

In the engine's words and environment ``{engine_host}`` and ``{engine_port}`` say where it must listen. In a network of
its own the engine reaches nobody, and nothing of its port is left to chance; on loopback the guard makes sure that the
socket which listens there belongs to a process of the engine's.

Slurm tells every process of a job to end, and most engines do so at once. What they are answering then is to be
finished, so the guard keeps SIGTERM from them, and ends them by SIGINT when the launcher says so. In an image it
cannot: what runs images makes such things anew, or needs rights that it would lose.
"""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import fcntl
import os
import signal
import socket
import struct
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING or __package__:
    from ai_how.serving.replica_door import Door
else:
    # On the node, where Python runs isolated: the other file is beside this one.
    sys.path.insert(0, str(Path(__file__).resolve().parent))
    from replica_door import Door

PR_SET_PDEATHSIG, PR_SET_NO_NEW_PRIVS = 1, 38
SECCOMP_SET_MODE_FILTER, SPEC_ALLOW = 1, 4
# The machine as the kernel calls it, and its numbers of the calls rt_sigaction and seccomp.
CALLS = {"x86_64": (0xC000003E, 13, 317), "aarch64": (0xC00000B7, 134, 277)}
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCSIFFLAGS, IFF_UP = 0x8914, 0x1
NOT_STARTED = 70
BAD_USE = 78
END_SECONDS = 10.0
LOOK_SECONDS = 0.01


def say(text: str) -> None:
    print(f"guard: {text}", file=sys.stderr, flush=True)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--address-file", required=True, help="where to write host:port once the engine listens"
    )
    parser.add_argument("--listen", default="127.0.0.1", help="the address that clients reach")
    parser.add_argument(
        "--image",
        action="store_true",
        help="what runs the image may need its rights: make no network for it, and leave it those",
    )
    parser.add_argument(
        "--by-owner",
        action="store_true",
        help="the engine's processes are not children: know its socket by its user",
    )
    parser.add_argument("--container", metavar="FILE", help="where the engine's container tells its process")
    parser.add_argument(
        "--engine-secret", metavar="VARIABLE", help="give the engine the secret too, in this variable"
    )
    parser.add_argument("engine", nargs="+", help="the engine's command")
    return parser.parse_args()


def own_network() -> str:
    """Put this process into a network that has nothing but its own loopback; why not, when that cannot be."""
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()
    if libc.unshare(CLONE_NEWNET):
        if libc.unshare(CLONE_NEWUSER | CLONE_NEWNET):
            return os.strerror(ctypes.get_errno())
        try:
            Path("/proc/self/setgroups").write_text("deny")
            Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
            Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")
        except OSError as error:
            say(f"the user is not mapped: {error.strerror}")
            sys.exit(NOT_STARTED)  # half-way there is no way back
    with socket.socket() as probe:
        fcntl.ioctl(probe, SIOCSIFFLAGS, struct.pack("16sH14x", b"lo", IFF_UP))
    return ""


def can_have_network() -> str:
    """Whether :func:`own_network` works here, tried in a child; empty when it does."""
    reads, writes = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.write(writes, (own_network() or "yes").encode())
        except OSError as error:
            os.write(writes, str(error.strerror).encode())
        finally:
            os._exit(0)
    os.close(writes)
    with os.fdopen(reads, "rb") as file:
        said = file.read().decode()
    os.waitpid(pid, 0)
    return "" if said == "yes" else said or "it cannot be made"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(words: list[str], environment: dict[str, str], keeper: int, image: bool) -> int:
    """Start the engine in a process group of its own; it never outlives the guard."""
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()
    pid = os.fork()
    if not pid:
        become(words, environment, libc, parent, image)
    os.write(keeper, str(pid).encode())
    return pid


def keep() -> int:
    """Start a process that ends the engine's group when the guard is gone, however it went; where to write the group.

    The kernel forgets that it was to kill a child with its parent when the child changes its rights, as programs do
    that run images. A container is no child at all: its first process is written behind the group.
    """
    reads, writes = os.pipe()
    if os.fork():
        os.close(reads)
        return writes
    try:
        os.close(writes)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
            signal.signal(number, signal.SIG_IGN)
        with os.fdopen(reads, "rb") as file:
            told = file.read().split()  # to the end: the guard's own end
        for process in told[1:]:
            signal_container(int(process), signal.SIGKILL)
        if told:
            os.killpg(int(told[0]), signal.SIGKILL)
    finally:
        os._exit(0)


def signal_container(pid: int, number: int) -> None:
    """Signal the first process of a container, which ends all others with itself, unless it has ended."""
    try:
        inside = Path(f"/proc/{pid}/status").read_text().partition("NSpid:")[2].splitlines()[0].split()
        # The first of processes of their own: the number is not somebody else's by now.
        if len(inside) > 1 and inside[-1] == "1":
            os.kill(pid, number)
    except (OSError, IndexError):
        pass


def become(
    words: list[str],
    environment: dict[str, str],
    libc: ctypes.CDLL,
    parent: int,
    image: bool,
) -> NoReturn:
    try:
        os.setpgid(0, 0)
        libc.prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_DFL)
        if not image:
            ignore_term()
        if os.getppid() == parent:
            os.execvpe(words[0], words, environment)
    except OSError as error:
        os.write(2, f"cannot start {words[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(127)


def ignore_term() -> None:
    """SIGTERM is ignored, and stays so: programs in Go, as Ollama is one, would hear it although it is blocked.

    The kernel takes what they ask for that signal as done, and does not do it. Where it knows no such filter, blocking
    has to do, which others inherit and leave.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    machine, sigaction, seccomp = CALLS.get(os.uname().machine, (0, 0, 0))
    if not machine:
        return
    code = [
        (0x20, 0, 0, 4), (0x15, 0, 7, machine),  # the machine whose calls these are, or allow it
        (0x20, 0, 0, 0), (0x15, 0, 5, sigaction),
        (0x20, 0, 0, 16), (0x15, 0, 3, int(signal.SIGTERM)),  # the first argument, in its lower half
        (0x20, 0, 0, 24), (0x15, 1, 0, 0),  # the second one: nothing, where it is only asked how it is
        (0x06, 0, 0, 0x00050000),  # done, without an error
        (0x06, 0, 0, 0x7FFF0000),  # allowed
    ]  # fmt: skip
    words = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *one) for one in code))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(code), ctypes.addressof(words)))
    libc = ctypes.CDLL(None, use_errno=True)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if libc.syscall(seccomp, SECCOMP_SET_MODE_FILTER, SPEC_ALLOW, program):
        say(f"SIGTERM is only blocked: {os.strerror(ctypes.get_errno())}")


def listens(port: int) -> dict[str, int]:
    """The sockets that listen on a port of this machine's: their inodes, and whose they are."""
    found = {}
    for table in ("/proc/self/net/tcp", "/proc/self/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            words = line.split()
            if words[3] == "0A" and int(words[1].rpartition(":")[2], 16) == port:
                found[words[9]] = int(words[7])
    return found


def sockets_of(group: int) -> set[str]:
    """The inodes of the sockets that the processes of a process group hold."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int((folder / "stat").read_text().rpartition(")")[2].split()[2]) != group:
                continue
            for link in (folder / "fd").iterdir():
                target = os.readlink(link)
                if target.startswith("socket:["):
                    found.add(target[8:-1])
        except (OSError, ValueError, IndexError):
            continue  # it ended, or is somebody else's
    return found


def is_engines(port: int, group: int, *, by_owner: bool = False) -> bool:
    """Whether everything that listens on a port is the engine's: held by its process group, or by this user."""
    there = listens(port)
    if by_owner:
        return bool(there) and set(there.values()) == {os.getuid()}
    return bool(there) and set(there) <= sockets_of(group)


class Guard:
    """One engine and the door before it."""

    def __init__(self, asked: argparse.Namespace, secret: str, environment: dict[str, str]) -> None:
        self.asked = asked
        self.secret = secret
        self.environment = environment
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.pid = 0
        self.keeper = keep()
        self.container = 0

    async def run(self, listener: socket.socket) -> int:
        loop = asyncio.get_running_loop()
        port = free_port()
        words = {"{engine_host}": "127.0.0.1", "{engine_port}": str(port)}
        if self.asked.engine_secret:
            self.environment[self.asked.engine_secret] = self.secret
        loop.add_signal_handler(signal.SIGCHLD, self.look)
        loop.add_signal_handler(signal.SIGINT, self.end)
        filled = {name: fill(value, words) for name, value in self.environment.items()}
        self.pid = start(
            [fill(word, words) for word in self.asked.engine], filled, self.keeper, self.asked.image
        )
        self.look()
        while not self.ended.done() and not is_engines(port, self.pid, by_owner=self.asked.by_owner):
            self.find_container()
            await asyncio.sleep(LOOK_SECONDS)
        if not self.ended.done():
            self.find_container()
            door = Door(self.secret, os.environ.get("AI_HOW_NONCE", ""), ("127.0.0.1", port),
                        keep=bool(self.asked.engine_secret))  # fmt: skip
            server = await loop.create_server(door.accept, sock=listener)
            publish(self.asked.address_file, "{}:{}".format(*listener.getsockname()[:2]))
            await asyncio.wait({self.ended})
            server.close()
        return self.ended.result()

    def find_container(self) -> None:
        """Read the number of the container's first process once it is told: its file may go before the guard does."""
        if not self.asked.container or self.container:
            return
        try:
            self.container = int(Path(self.asked.container).read_text())
        except (OSError, ValueError):
            return
        os.write(self.keeper, f" {self.container}".encode())

    def end(self, number: int | None = None) -> None:
        """Tell the engine to end, and end it when it does not."""
        number = number or (signal.SIGTERM if self.asked.image else signal.SIGINT)
        if self.pid and not self.ended.done():
            # Not through Podman alone: it forwards nothing once Slurm has sent it one signal upon another.
            signal_container(self.container, number)
            try:
                os.killpg(self.pid, number)
            except ProcessLookupError:
                return
            asyncio.get_running_loop().call_later(END_SECONDS, self.end, signal.SIGKILL)

    def look(self) -> None:
        if self.ended.done():
            return
        try:
            done, raw = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return
        if done:
            code = os.waitstatus_to_exitcode(raw)
            self.ended.set_result(code if code >= 0 else 128 - code)


def fill(word: str, values: dict[str, str]) -> str:
    for key, value in values.items():
        word = word.replace(key, value)
    return word


def publish(path: str, address: str) -> None:
    draft = f"{path}.part"
    with open(draft, "w", encoding="utf-8") as file:
        file.write(address)
    os.replace(draft, path)


async def guard(asked: argparse.Namespace, secret: str, listener: socket.socket) -> int:
    environment = dict(os.environ)
    environment.pop("AI_HOW_NONCE", None)
    return await Guard(asked, secret, environment).run(listener)


def main() -> int:
    began = time.monotonic()
    asked = arguments()
    # Out of the environment at once, so that no child of ours inherits it.
    secret = os.environ.pop("AI_HOW_REPLICA_SECRET", "")
    if not secret:
        say("AI_HOW_REPLICA_SECRET is not set: refusing to serve without a secret")
        return BAD_USE
    # The launcher decides when this ends, by SIGINT: what is being answered when the job is told to end is finished.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    listener = socket.create_server((asked.listen, 0), backlog=512)
    why = "its programs are an image's" if asked.image else can_have_network()
    if not why:
        own_network()
        say("the engine listens in a network of its own, which no other process of this node reaches")
    else:
        say(
            f"the engine listens on loopback, which other users of this node reach: no network of its own ({why})"
        )
    status = asyncio.run(guard(asked, secret, listener))
    say(f"the engine ended with status {status} after {time.monotonic() - began:.0f} s")
    return status


if __name__ == "__main__":
    sys.exit(main())
