"""How long a site takes to come up, and what that is compared with a plain shell script.

    .venv/bin/python benchmarks/up.py [--rounds 5] [--json]

Figures: `ai-how up` of four nodes and all services for the first time and with existing databases; the same daemons
with the same configuration by `up_plain.sh`, in turns with it; 64 nodes; `./ai-how --help`. Each line says the bound
that the project has set itself. Needs bash, curl, setsid and setpriv, and built runtime environments.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ai_how.host import Folders
from ai_how.providers.local.processes import mark_of
from ai_how.providers.local.render import SERVICE_MARK, SITE_MARK
from ai_how.services import Service, catalogue
from ai_how.services.model import CommandProbe, HeartbeatProbe, HttpProbe, PortProbe, SocketProbe
from ai_how.site import Site, open_site
from ai_how.site.shell import shell_env
from ai_how.spec.template import laptop

HERE = Path(__file__).resolve().parent
AI_HOW = HERE.parent / "ai-how"
PLAIN = HERE / "up_plain.sh"


def timed(*argv: str, cwd: Path) -> float:
    """Seconds that a command takes; its output is shown when it fails."""
    begin = time.monotonic()
    done = subprocess.run(argv, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{shlex.join(argv)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return time.monotonic() - begin


def script(path: Path, *lines: str) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(["#!/usr/bin/env bash", *lines, ""]))
    path.chmod(0o755)


def with_env(env: dict[str, str], argv: tuple[str, ...]) -> str:
    return shlex.join(["env", *(f"{key}={value}" for key, value in env.items()), *argv])


def health(service: Service) -> str:
    match service.probe:
        case CommandProbe(command, expect):
            run = with_env(dict(command.env), command.argv)
            return f"timeout 10 {run} | grep --quiet -- {shlex.quote(expect)}" if expect else run
        case HttpProbe(url, body):
            post = f"--header 'Content-Type: application/json' --data {shlex.quote(body)} " if body else ""
            return f"curl --noproxy '*' --silent --fail {post}{url}"
        case PortProbe(port):
            return f"exec 3<>/dev/tcp/127.0.0.1/{port}"
        case SocketProbe(path):
            return f"test -S {shlex.quote(str(path))}"
        case HeartbeatProbe(path, seconds):
            return f"test -n \"$(find {shlex.quote(str(path))} -newermt '-{seconds:g} seconds')\""


def write_plain(site: Site, folder: Path) -> None:
    """The site's own definitions as the files that ``up_plain.sh`` reads."""
    setting = site.setting()
    base = {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/"),
        "LANG": "C.UTF-8",
        "NO_PROXY": "127.0.0.1",
    }
    for service in catalogue(setting):
        marks = {SITE_MARK: mark_of(site.layout.root), SERVICE_MARK: service.name}
        words = shlex.join([f"{key}={value}" for key, value in {**base, **service.env, **marks}.items()])
        account = service.account
        become = f"setpriv --reuid={account} --regid={account} --clear-groups " if account else ""
        # As under supervisord, nothing of the caller's environment reaches a daemon.
        start = f"exec {become}env -i {words} {shlex.join(service.argv)}"
        script(folder / "commands" / service.name, f"cd {shlex.quote(str(site.layout.root))}", start)
        script(folder / "health" / service.name, "set -o pipefail", health(service))
        settle = [
            (f"printf %s {shlex.quote(one.command.stdin)} | " if one.command.stdin else "")
            + with_env(dict(one.command.env), one.command.argv)
            + " || true"
            for one in service.settle
        ]
        script(folder / "settle" / service.name, *settle)
        (folder / "after").mkdir(exist_ok=True)
        (folder / "after" / service.name).write_text(" ".join(service.after))
    script(folder / "sinfo", f'exec {with_env(dict(shell_env(site)), ("sinfo",))} "$@"')


def remove_stale_sockets(site: Site) -> None:
    """What ``test -S`` must not mistake for a daemon that listens."""
    for path in site.layout.run.rglob("*"):
        if path.is_socket():
            path.unlink()


def in_turns(home: Path, rounds: int) -> dict[str, float]:
    """Four nodes: the first time, then by `ai-how up` and by the plain script in turns."""
    folder = home / "four"
    folder.mkdir()
    (folder / "cluster.yaml").write_text(laptop("four"))
    first = timed(str(AI_HOW), "up", cwd=folder)
    site = open_site(folder / "cluster.yaml")
    plain = home / "plain"
    plain.mkdir()
    write_plain(site, plain)
    ours, theirs = [], []
    for _ in range(rounds):
        timed(str(AI_HOW), "down", cwd=folder)
        ours.append(timed(str(AI_HOW), "up", cwd=folder))
        timed(str(AI_HOW), "down", cwd=folder)
        remove_stale_sockets(site)
        theirs.append(timed(str(PLAIN), str(plain), "4", cwd=folder))
    timed(str(AI_HOW), "destroy", "--yes", cwd=folder)
    again, by_script = statistics.median(ours), statistics.median(theirs)
    return {"first": first, "again": again, "plain": by_script, "ratio": again / by_script}


def many(home: Path) -> float:
    """64 nodes and all services, for the first time."""
    folder = home / "many"
    folder.mkdir()
    (folder / "cluster.yaml").write_text(laptop("many").replace("count: 4 ", "count: 64 "))
    seconds = timed(str(AI_HOW), "up", cwd=folder)
    timed(str(AI_HOW), "destroy", "--yes", cwd=folder)
    return seconds


def make_home() -> Path:
    """A data folder of its own, with the user's environments and programs."""
    usual = Folders.of_user(os.environ)
    home = Path(tempfile.mkdtemp(prefix="aihb-", dir="/tmp"))
    home.chmod(0o711 if os.geteuid() == 0 else 0o700)
    (home / "envs").symlink_to(usual.environments)
    (home / "programs").symlink_to(usual.programs)
    os.environ["AI_HOW_HOME"] = str(home)
    return home


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5, help="turns of each of the two (default: 5)")
    parser.add_argument("--json", action="store_true", help="print the figures as one JSON object")
    args = parser.parse_args()
    home = make_home()
    try:
        helping = statistics.median(timed(str(AI_HOW), "--help", cwd=home) for _ in range(20))
        four = in_turns(home, args.rounds)
        lines = [
            ("four nodes, first time", four["first"], 15.0, "s"),
            ("four nodes, with databases", four["again"], 10.0, "s"),
            ("the plain script", four["plain"], None, "s"),
            ("ratio of the two", four["ratio"], 1.3, ""),
            ("64 nodes, first time", many(home), 30.0, "s"),
            ("./ai-how --help", helping, 0.15, "s"),
        ]
    finally:
        shutil.rmtree(home, ignore_errors=True)
    if args.json:
        print(
            json.dumps(
                [{"what": what, "value": round(value, 3), "bound": bound} for what, value, bound, _ in lines]
            )
        )
        return
    for what, value, bound, unit in lines:
        kept = (
            ""
            if bound is None
            else f"bound {bound:g} {unit}".ljust(14) + ("kept" if value <= bound else "MISSED")
        )
        print(f"{what:<28} {value:7.2f} {unit:<2}  {kept}")


if __name__ == "__main__":
    main()
