"""A step fails, or what is asked cannot be: clear words, the documented exit code, and nothing changed."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from live_site import LiveSite, until

from ai_how.client.tracking import Tracking
from ai_how.errors import AiHowError, MissingProgram, NotFound, SpecError, StepFailed, UsageError


@pytest.fixture
def taken_port() -> Iterator[int]:
    """A port that nobody listens on, so that no plan sees it, and that yet cannot be had."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


def tree(folder: Path) -> dict[str, float]:
    """Every file below a folder, with the time of its last change."""
    return {str(path): path.lstat().st_mtime for path in folder.rglob("*")} if folder.exists() else {}


# --- a step fails --------------------------------------------------------------------------------------


def test_what_a_failed_up_made_is_taken_back_in_reverse(
    new_site: Callable[[str], LiveSite], taken_port: int
) -> None:
    site = new_site("failing")
    site.write(count=2, gateway=taken_port)
    said = site.run("up", code=StepFailed.exit_code).stderr
    assert "gateway does not stay up" in said and "took back: open supervisord" in said
    assert f"port {taken_port}" in said
    assert site.processes() == {}
    ended = [entry["step"] for entry in site.journal if entry["event"] == "end"]
    undone = [entry["step"] for entry in site.journal if entry["event"] == "undone"]
    assert len(ended) >= 5
    assert set(undone) == set(ended) - {"register:nodes"}
    chain = ("create:slurmctld", "create:slurmdbd", "create:munged", "open:supervisord")
    order = [undone.index(step) for step in chain]
    assert order == sorted(order) and order[-1] == len(undone) - 1
    assert site.journal[-1]["event"] == "failed"
    # Every database that this run made is gone, and the next run makes it anew.
    data = site.root / "data"
    assert not [name for name in ("mariadb", "postgresql/cluster", "object-store") if (data / name).exists()]
    site.write(count=2)
    steps = site.up()
    assert "create:mariadb" in steps
    assert site.is_up()


def test_what_was_there_before_a_failed_up_is_left_alone(site: LiveSite, taken_port: int) -> None:
    before = site.daemons()
    port = site.ports["gateway"]
    site.write(gateway=taken_port)
    error = site.facts("up", code=StepFailed.exit_code)
    assert error["error"] == "StepFailed" and "gateway" in error["message"]
    after = site.daemons()
    assert after.pop("gateway") != before.pop("gateway")
    assert after == before
    site.write()
    assert site.ports["gateway"] == port
    assert site.up() == []


def test_a_program_that_does_not_stay_up_is_named_with_its_last_words(
    new_site: Callable[[str], LiveSite], tmp_path: Path
) -> None:
    site = new_site("broken")
    site.write(count=2)
    broken = tmp_path / "munged"
    broken.write_text(
        '#!/bin/sh\n[ "$1" != --version ] || exec echo munge-0.5.15\necho "no such luck" >&2; exit 3\n'
    )
    broken.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    said = site.run("up", code=StepFailed.exit_code, env=env).stderr
    assert "munged does not stay up" in said
    assert "no such luck" in said
    assert site.processes() == {}
    assert not (site.root / "data" / "mariadb").exists()


# --- what cannot be is refused -------------------------------------------------------------------------


def edited(site: LiveSite, old: str, new: str) -> None:
    text = site.file.read_text()
    assert old in text
    site.file.write_text(text.replace(old, new))


BAD_FILES = {
    "no YAML": ("clusters:", "clusters: {", "cluster.yaml:", "no valid YAML"),
    "unknown key": ("compute_nodes:", "compute_node:", "cluster.yaml:13:5", "Did you mean 'compute_nodes'?"),
    "count of zero": ("count: 4 ", "count: 0 ", "cluster.yaml:14:14", "greater than or equal to 1"),
    "port over 65535": (
        "gateway: {} ",
        "gateway: {port: 70000} ",
        "cluster.yaml:",
        "less than or equal to 65535",
    ),
    "two mistakes": ("count: 4 ", "count: 0\n      gpus: 3 ", "2 mistakes", "unknown key 'gpus'"),
}


@pytest.mark.parametrize("command", ["plan", "up"])
@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_is_refused_with_every_mistake(site: LiveSite, case: str, command: str) -> None:
    old, new, where, what = BAD_FILES[case]
    edited(site, old, new)
    before = tree(site.root / "state") | tree(site.root / "etc")
    said = site.run(command, code=SpecError.exit_code).stderr
    assert where in said and what in said
    assert tree(site.root / "state") | tree(site.root / "etc") == before


def test_more_cpus_than_the_host_has_is_a_warning(site: LiveSite) -> None:
    edited(site, "cpu_cores: 2\n", "cpu_cores: 512\n")
    done = site.run("validate")
    assert "4 nodes of 512 CPUs are 2048" in done.stderr
    assert "is valid" in done.stdout


def test_a_port_that_somebody_listens_on_is_refused_with_the_holder(site: LiveSite) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        site.write(gateway=port)
        before = site.daemons()
        said = site.run("up", code=AiHowError.exit_code).stderr
    assert f"port {port} for gateway is taken by" in said and f"process {os.getpid()}" in said
    assert "cluster.yaml:" in said
    assert site.daemons() == before


def test_a_second_site_of_the_same_name_is_refused(site: LiveSite) -> None:
    elsewhere = site.home / "files" / "elsewhere"
    elsewhere.mkdir()
    shutil.copy(site.file, elsewhere)
    before = tree(site.root / "state") | tree(site.root / "etc")
    said = site.run("up", f"--file={elsewhere / 'cluster.yaml'}", code=UsageError.exit_code).stderr
    assert f"another site of the name '{site.name}'" in said and str(site.file) in said
    assert tree(site.root / "state") | tree(site.root / "etc") == before
    shutil.rmtree(elsewhere)


@pytest.mark.parametrize("command", ["validate", "plan", "up", "status", "down"])
def test_without_a_file_the_way_to_get_one_is_told(new_site: Callable[[str], LiveSite], command: str) -> None:
    site = new_site("empty")
    site.file.unlink()
    said = site.run(command, code=NotFound.exit_code).stderr
    assert "there is no cluster.yaml here" in said and "ai-how init" in said
    assert not site.root.exists()


def test_a_path_too_long_for_sockets_is_refused(new_site: Callable[[str], LiveSite]) -> None:
    site = new_site("long")
    root = site.home / ("x" * 120)
    said = site.run("up", f"--root={root}", code=AiHowError.exit_code).stderr
    assert "too long a path" in said and "--root" in said
    assert not root.exists()


def test_destroying_what_is_not_there_is_told(new_site: Callable[[str], LiveSite]) -> None:
    site = new_site("nobody")
    assert "there is no site 'nobody'" in site.run("destroy", "--yes", code=NotFound.exit_code).stderr
    site.run("down")
    assert site.facts("status", code=1)["up"] is False
    assert not site.root.exists()


def in_a_mount_namespace(mounts: str, *words: str) -> tuple[str, ...]:
    return ("unshare", "--mount", "sh", "-ec", f'{mounts}; exec "$@"', "sh", *words)


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


@pytest.mark.needs_root
@needs_root
def test_a_full_disk_is_refused(new_site: Callable[[str], LiveSite]) -> None:
    site = new_site("full")
    with tempfile.TemporaryDirectory(prefix="aih-", dir="/tmp") as place:
        site.wrap = in_a_mount_namespace(
            f"mount -t tmpfs -o size=16M none {place}; trap 'ls -A {place} >&2' EXIT"
        )
        said = site.run("up", f"--root={place}/site", code=AiHowError.exit_code).stderr
    assert "the disk has too little room" in said and "--root" in said


class SmallDisk:
    """A disk of a site's own in a mount namespace of its own, whose room can be changed while it is used.

    It holds nothing that is not written, so that a size the check asks for takes no memory.
    """

    #: What the check before `up` is satisfied with, and a little more.
    ENOUGH = 2200

    def __init__(self, place: Path) -> None:
        made = f"mount -t tmpfs -o size={self.ENOUGH}M none {place}; echo made; read nothing"
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "sh", "-ec", made],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._holder.stdout and self._holder.stdout.readline() == "made\n"
        self.place = place
        self.inside = ("nsenter", f"--mount=/proc/{self._holder.pid}/ns/mnt")
        #: The same folder, looked at from outside.
        self.seen = Path(f"/proc/{self._holder.pid}/root{place}")

    def resize(self, mebibytes: int) -> bool:
        """Make it so large; false when more than that is in use."""
        words = (*self.inside, "mount", "-o", f"remount,size={mebibytes}M", str(self.place))
        return subprocess.run(words, capture_output=True, check=False).returncode == 0

    def fill(self, left: int) -> None:
        """Leave so many MiB free, as somebody would who writes a large file there."""
        while True:
            facts = os.statvfs(self.seen)
            used = (facts.f_blocks - facts.f_bfree) * facts.f_frsize // 2**20
            if self.resize(used + 1 + left):
                return

    def close(self) -> None:
        self._holder.communicate()


@pytest.fixture
def small_disk() -> Iterator[SmallDisk]:
    with tempfile.TemporaryDirectory(prefix="aih-", dir="/tmp") as place:
        disk = SmallDisk(Path(place))
        yield disk
        disk.close()


@pytest.mark.needs_root
@needs_root
@pytest.mark.parametrize(("step", "left"), [("create:mariadb", 30), ("create:slurmdbd", 0)])
def test_a_disk_that_fills_up_meanwhile_is_named_and_what_was_made_is_taken_back(
    new_site: Callable[[str], LiveSite], small_disk: SmallDisk, step: str, left: int
) -> None:
    site = new_site("filling")
    site.write(count=2)
    site.wrap = (*small_disk.inside, "env", f"--chdir={site.folder}")
    site.root, root = small_disk.place / "site", small_disk.seen / "site"
    journal = root / "state" / "journal.jsonl"
    with site.start("up", f"--root={site.root}") as process:
        begun = f'"event": "start", "step": "{step}"'
        until(
            lambda: process.poll() or (journal.exists() and begun in journal.read_text()), f"{step} has begun"
        )
        small_disk.fill(left)
        _, said = process.communicate(timeout=120)
    assert process.returncode == StepFailed.exit_code, said
    assert "Traceback" not in said
    assert "the disk is full: " in said, said
    assert f"where: {site.root}" in said and "--root" in said
    assert "took back: open supervisord" in said and "could not take back" not in said
    assert site.processes() == {}
    made = [
        name for name in ("mariadb", "postgresql/cluster", "object-store") if (root / "data" / name).exists()
    ]
    assert not made and not list((root / "data").rglob("*.new"))
    entries = [json.loads(line) for line in journal.read_text().splitlines()]
    assert {entry["event"] for entry in entries} >= {"plan", "start", "step-failed", "undone", "failed"}
    assert small_disk.resize(SmallDisk.ENOUGH)
    facts = json.loads(site.run("up", f"--root={site.root}", "--json").stdout)
    assert "create:mariadb" in [f"{one['action']}:{one['target']}" for one in facts["steps"]]
    status = json.loads(site.run("status", f"--root={site.root}", "--json").stdout)
    assert status["up"]
    # The object store counts in volumes, of which few find room here: runs must have some left for what they keep.
    tracking = Tracking(status["addresses"]["mlflow"])
    tracking.artifacts(tracking.new_run("room", "room", {}), Path(__file__))
    site.run("down", f"--root={site.root}")
    assert site.processes() == {}


@pytest.mark.needs_root
@needs_root
def test_a_missing_program_is_named_with_its_purpose_and_the_command(
    new_site: Callable[[str], LiveSite],
) -> None:
    site = new_site("missing")
    hidden = ("munged", "apt-get")
    paths = [path for name in hidden if (path := shutil.which(name, path="/usr/sbin:/usr/bin"))]
    site.wrap = in_a_mount_namespace("; ".join(f"mount --bind /dev/null {path}" for path in paths) or "true")
    said = site.run("up", code=MissingProgram.exit_code).stderr
    assert "munged (vouches to Slurm for who sends a message)" in said
    assert "next: Install" in said
    assert site.processes() == {}
    assert not (site.root / "data").exists() or not list((site.root / "data").iterdir())


def test_no_argument_of_ours_reaches_a_shell(new_site: Callable[[str], LiveSite]) -> None:
    site = new_site("quoting")
    odd = site.folder / "it's $(odd); %h"
    odd.mkdir()
    shutil.copy(site.file, odd)
    done = subprocess.run(
        [sys.executable, "-I", "-m", "ai_how", "validate"],
        cwd=odd, env=site.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
