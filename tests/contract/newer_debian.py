"""Debian's unstable suite unpacked into a folder: programs that this release does not have, and a root for images.

Its `llama-server` runs beside this machine's libraries, by its own loader. Its Apptainer has its paths built in: it
runs where its files are laid over this machine's, in a view of the file system of its own.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from ai_how.host import Folders, apt
from ai_how.run import LocalGate

SUITE = "sid"
PACKAGES = ("llama.cpp-tools", "python3", "apptainer", "bash", "coreutils", "base-files")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
IMAGE = "localhost/ai-how-test-llama:1"
#: Containers and their mounts are tried as root alone, whatever this machine lets others do.
AS_ROOT = "mounts in a view of the file system of its own, which takes root"


@cache
def newer_root() -> Path:
    """The folder; unpacked when it is not there. Skips where there is no Debian to take it from."""
    if not (shutil.which("apt-get") and KEYRING.exists()):
        pytest.skip("a real llama-server and Apptainer are taken from Debian, which this machine is not")
    kept = Folders.of_user(os.environ).make().programs / "for-tests" / SUITE
    if not kept.exists():
        kept.parent.mkdir(exist_ok=True)
        try:
            _fetch(kept)
        except (
            AssertionError
        ):  # the suite changes every few hours, and may have between its lists and its packages
            _fetch(kept)
    return kept


def _fetch(kept: Path) -> None:
    with tempfile.TemporaryDirectory(dir=kept.parent) as folder:
        draft = Path(folder) / "root"
        _unpack(Path(folder), draft)
        draft.chmod(0o755)
        draft.rename(kept)


def _unpack(work: Path, root: Path) -> None:
    (work / "sources.list").write_text(f"deb [signed-by={KEYRING}] {_mirror()} {SUITE} main\n")
    for name in ("lists/partial", "cache/archives/partial", "debs", "root"):
        (work / name).mkdir(parents=True)
    own = {
        "Dir::State::Lists": work / "lists", "Dir::Cache": work / "cache", "Dir::State::status": "/dev/null",
        "Dir::Etc::sourcelist": work / "sources.list", "Dir::Etc::sourceparts": "/dev/null",
        "APT::Sandbox::User": "",
    }  # fmt: skip
    get = ["apt-get", "-q", *(f"-o{key}={value}" for key, value in own.items())]
    _run([*get, "update"], work)
    plan = _run([*get, "--simulate", "--no-install-recommends", "install", *PACKAGES], work)
    names = [line.split()[1] for line in plan.splitlines() if line.startswith("Inst ")]
    _run([*get, "download", *names], work / "debs")
    # Usr is merged: what packages still have in /lib goes where the links lead.
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for package in sorted((work / "debs").glob("*.deb")):
        unpack = 'dpkg-deb --fsys-tarfile "$1" | tar -x --keep-directory-symlink -C "$2" -f -'
        _run(["bash", "-o", "pipefail", "-c", unpack, "unpack", str(package), str(root)], work)
    (root / "bin/sh").unlink(missing_ok=True)
    (root / "bin/sh").symlink_to("bash")
    # Where it looks for its own mount point, told by the links to the folder of its libraries.
    (root / "usr/lib/var/lib/apptainer/mnt/session").mkdir(parents=True)


def _mirror() -> str:
    """Where this machine takes Debian from."""
    words = ["apt-get", "indextargets", "--format", "$(SITE)", "Identifier: Packages", "Origin: Debian"]
    sites = [site for site in subprocess.check_output(words, text=True).split() if "security" not in site]
    return sites[0] if sites else pytest.skip("apt names no mirror of Debian's")


def _run(words: list[str], cwd: Path) -> str:
    done = subprocess.run(words, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def llama_server(folder: Path) -> Path:
    """A folder whose ``bin/llama-server`` is Debian's; it makes vectors, too."""
    usr = newer_root() / "usr"
    libraries = usr / "lib/x86_64-linux-gnu"
    program = folder / "bin" / "llama-server"
    program.parent.mkdir(parents=True)
    program.write_text(
        "#!/bin/sh\n"
        f"export GGML_BACKEND_PATH={next(libraries.glob('ggml/*/libggml-cpu-sse42.so'))}\n"
        f"exec {usr}/lib64/ld-linux-x86-64.so.2 --library-path {libraries}:{libraries}/llama {usr}/bin/llama-server "
        '"$@"\n'
    )
    program.chmod(0o755)
    return folder


def apptainer(folder: Path) -> Path:
    """A folder with a program ``apptainer``: the machine's own, or else Debian's, for root."""
    if own := shutil.which("apptainer") or shutil.which("singularity"):
        return Path(own).parent
    if os.geteuid():
        pytest.skip(f"Apptainer of another release {AS_ROOT}")
    root, conf = newer_root(), folder / "etc"
    shutil.copytree(root / "etc/apptainer", conf)
    file = conf / "apptainer.conf"
    # It would ask for all that root can have, more than root of many a container and machine has.
    text = file.read_text().replace("root default capabilities = full", "root default capabilities = no")
    file.write_text(text)
    return _program(
        folder / "apptainer",
        f"mount -t overlay overlay -olowerdir={root}/usr:/usr /usr && mkdir -p /etc/apptainer && "
        f"mount --bind {conf} /etc/apptainer || exit",
        "/usr/bin/apptainer",
    )


@contextmanager
def podman() -> Iterator[Path]:
    """A folder with a ``podman`` that has images of its own, installed if need be, for root; gone in the end."""
    if os.geteuid():
        pytest.skip(f"Podman {AS_ROOT}")
    if not shutil.which("podman"):
        apt.install(LocalGate(), ["podman", "crun", "catatonit"], print)
    folder = Path(tempfile.mkdtemp(prefix="aih-", dir="/tmp"))  # Podman takes no longer path than 50 letters
    conf = folder / "containers.conf"
    # Without it Podman asks for higher limits than its own, which root may not have the right to.
    conf.write_text('[containers]\ndefault_ulimits = ["nofile=1024:1024", "nproc=1000:1000"]\n')
    # crun refuses a machine that has control groups of both versions: those of the second are taken out of its view.
    programs = _program(
        folder / "podman",
        f"export CONTAINERS_CONF={conf}\n"
        "if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi",
        f"{shutil.which('podman')} --root {folder}/images --runroot {folder}/run",
    )
    yield programs
    shutil.rmtree(folder, ignore_errors=True)


def podman_image(programs: Path) -> str:
    """An image of the root, for the ``podman`` of this folder; its name."""
    pack = 'tar -C "$1" -c . | "$2" import --quiet - "$3"'
    _run(
        ["bash", "-o", "pipefail", "-c", pack, "pack", str(newer_root()), str(programs / "podman"), IMAGE],
        programs,
    )
    return IMAGE


def _program(path: Path, before: str, command: str) -> Path:
    """A program that becomes ``command`` after ``before``, in a view of the file system of its own."""
    inside = f'{before}\nexec {command} "$@"'
    path.write_text(f"#!/bin/sh\nexec unshare --mount sh -c '{inside}' {path.name} \"$@\"\n")
    path.chmod(0o755)
    bin_ = path.parent / "bin"
    bin_.mkdir()
    return Path(shutil.move(path, bin_)).parent
