"""A real OpenSSH server on loopback: a login node whose account has Slurm's commands, a shell and core utilities."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ai_how.host import Folders, apt
from ai_how.host.unpack import unpack
from ai_how.run import LocalGate, SshGate, SshMaster, SshTarget, wait_until

#: All that the account finds on its PATH besides what a test gives it: no Python, no tar, no rsync.
UTILITIES = (
    "sh", "cat", "chmod", "cp", "false", "head", "ls", "mkdir", "mv", "printf", "rm", "sleep", "tail", "test", "touch",
    "true", "wc", "id", "uname", "nohup", "echo", "rmdir", "bash", "sed",
)  # fmt: skip
ACCOUNT_PREFIX = "aih-login-"


def sshd() -> tuple[str, dict[str, str]]:
    """The server's program and what it needs in its environment; installed when it is not there."""
    if path := shutil.which("sshd", path="/usr/sbin:/sbin:/usr/local/sbin"):
        return path, {}
    if os.geteuid() == 0:
        apt.install(LocalGate(), ["openssh-server"], print)
        return "/usr/sbin/sshd", {}
    folder = Folders.of_user(os.environ).make().programs / "for-tests"
    folder.mkdir(exist_ok=True)
    prefix = next(folder.glob("[!.]*"), None) or unpack(LocalGate(), ["openssh-server"], folder, print)
    return str(prefix / "usr/sbin/sshd"), {"LD_LIBRARY_PATH": str(prefix / "usr/lib/x86_64-linux-gnu")}


class LoginNode:
    """The server, its account, and the client's configuration for it."""

    def __init__(self, folder: Path, account: str, env: Mapping[str, str], programs: Iterable[Path]) -> None:
        self.folder, self.account = folder, account
        self.home = Path(pwd.getpwnam(account).pw_dir) if os.geteuid() == 0 else folder / "home"
        self.config = folder / "config"
        self.known_hosts = folder / "known_hosts"
        self.masters: list[SshMaster] = []
        self._env = {"PATH": str(folder / "bin"), "HOME": str(self.home), **env}
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        self._link(programs)
        self._keygen("key"), self._keygen("host"), self._keygen("stranger"), self._keygen("another")
        self.start()

    def _link(self, programs: Iterable[Path]) -> None:
        (self.folder / "bin").mkdir()
        found = (shutil.which(name, path="/usr/bin:/bin") for name in UTILITIES)
        for program in (*programs, *(Path(path) for path in found if path)):
            (self.folder / "bin" / program.name).symlink_to(program)

    def _keygen(self, name: str) -> None:
        words = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(self.folder / name))
        subprocess.run(words, check=True)

    def start(self, *, host_key: str = "host") -> None:
        """Listen, on the same port as before; with another host key, be somebody else."""
        self.port = self.port or _free_port()
        pem = self.folder / host_key
        owner = pwd.getpwnam(self.account) if os.geteuid() == 0 else None
        for path in (pem, self.folder / "key.pub"):
            if owner:
                os.chown(path, owner.pw_uid, owner.pw_gid)
        lines = [
            f"Port {self.port}", "ListenAddress 127.0.0.1", f"HostKey {pem}", "UsePAM no", "StrictModes no",
            f"PidFile {self.folder / 'sshd.pid'}", f"AuthorizedKeysFile {self.folder / 'key.pub'}",
            "PasswordAuthentication no", "KbdInteractiveAuthentication no", "PrintMotd no", "MaxSessions 30",
            "SetEnv " + " ".join(f'"{name}={value}"' for name, value in self._env.items()),
        ]  # fmt: skip
        (self.folder / "sshd_config").write_text("\n".join(lines) + "\n")
        program, env = sshd()
        with (self.folder / "sshd.log").open("ab") as log:
            self._process = subprocess.Popen(
                (program, "-D", "-e", "-f", str(self.folder / "sshd_config")),
                env={"PATH": "/usr/bin:/bin", **env}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                **({"user": owner.pw_uid, "group": owner.pw_gid, "extra_groups": []} if owner else {}),
                start_new_session=True,
            )  # fmt: skip
        wait_until(self._answers, what="sshd listening", timeout=60)
        if not self.known_hosts.exists():
            public = (self.folder / "host.pub").read_text()
            self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {public}")
        self.config.write_text(
            f"Host login\n  HostName 127.0.0.1\n  Port {self.port}\n  User {self.account}\n"
            f"  IdentityFile {self.folder / 'key'}\n  IdentitiesOnly yes\n"
            f"  UserKnownHostsFile {self.known_hosts}\n  GlobalKnownHostsFile /dev/null\n"
        )

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """No longer listen, and break every connection."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(timeout=60)
            self._process = None
        for pid in self._sessions():
            os.kill(pid, signal.SIGKILL)

    def _sessions(self) -> Iterator[int]:
        """Servers of single connections, which outlive the one that listens."""
        if os.geteuid() != 0:
            return
        uid = pwd.getpwnam(self.account).pw_uid
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if entry.stat().st_uid == uid and (entry / "comm").read_text().strip() == "sshd":
                    yield int(entry.name)
            except OSError:
                continue

    def master(self, name: str = "m", **more: object) -> SshMaster:
        """A connection of its own to this server."""
        target = SshTarget("login", config_file=self.config)
        made = SshMaster(target, self.folder / name, **more)  # type: ignore[arg-type]
        self.masters.append(made)
        return made

    def gate(self, name: str = "m") -> SshGate:
        return SshGate(self.master(name))

    def close(self) -> None:
        for master in self.masters:
            master.close()
        self.stop()


@contextmanager
def login_node(*, env: Mapping[str, str] | None = None, programs: Iterable[Path] = ()) -> Iterator[LoginNode]:
    """A login node; as root with an account of its own, which is gone at the end."""
    folder = Path(tempfile.mkdtemp(prefix="aih-ssh-", dir="/tmp"))
    folder.chmod(0o755)
    root = os.geteuid() == 0
    account = ACCOUNT_PREFIX + secrets.token_hex(3) if root else pwd.getpwuid(os.geteuid()).pw_name
    (folder / "home").mkdir(mode=0o700)
    if root:
        home = str(folder / "home")
        subprocess.run(
            ("useradd", "--home-dir", home, "--no-create-home", "--shell", "/bin/sh", account), check=True
        )
        shutil.chown(home, account, account)
    node = None
    try:
        node = LoginNode(folder, account, env or {}, programs)
        yield node
    finally:
        if node is not None:
            node.close()
        if root:
            # By force: what a job of the account's has left may still be ending.
            subprocess.run(("userdel", "--force", account), check=True, capture_output=True)
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
