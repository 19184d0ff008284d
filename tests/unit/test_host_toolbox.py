"""The toolbox against a machine that is made up."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ai_how.errors import CommandFailed, MissingProgram
from ai_how.host import Folders, Toolbox
from ai_how.host.apt import install, no_daemons
from ai_how.host.model import Distribution
from ai_how.host.unpack import unpack
from ai_how.run import Command, FileLock
from ai_how.run.fake import Answer, ScriptedGate

DEBIAN = Distribution("debian", "12", "Debian GNU/Linux 12")
FEDORA = Distribution("fedora", "41", "Fedora Linux 41")


@pytest.fixture
def nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No program of the real machine is seen."""
    monkeypatch.setattr("ai_how.host.search.SYSTEM_FOLDERS", ())


def program(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def options(argv: tuple[str, ...]) -> dict[str, str]:
    return dict(word.split("=", 1) for word in argv if "=" in word)


def fake_apt(contents: list[str]) -> ScriptedGate:
    """apt-get that downloads one package, and dpkg that unpacks ``contents`` from it."""

    def apt(command: Command) -> Answer:
        if "--download-only" in command.argv:
            (Path(options(command.argv)["Dir::Cache"]) / "archives" / "one.deb").touch()
        return (0, "", "")

    def dpkg(command: Command) -> Answer:
        for name in contents:
            program(Path(command.argv[-1]) / name)
        return (0, "", "")

    return ScriptedGate(
        [
            (("apt-get",), apt),
            (("dpkg",), dpkg),
            (("munged", "--version"), (0, "munge-0.5.15 (2022-06-22)\n", "")),
            (("slurmctld", "-V"), (0, "slurm-wlm 22.05.8\n", "")),
        ]
    )


@pytest.fixture
def tools(tmp_path: Path) -> dict[str, str]:
    """A PATH that has apt-get and dpkg on it and nothing else."""
    for name in ("apt-get", "dpkg"):
        program(tmp_path / "bin" / name)
    return {"PATH": str(tmp_path / "bin")}


def test_what_is_on_path_is_found_with_its_version(tmp_path: Path, nowhere: None) -> None:
    path = program(tmp_path / "bin" / "munged")
    gate = ScriptedGate([(("munged", "--version"), (0, "munge-0.5.15 (2022-06-22)\n", ""))])
    toolbox = Toolbox(
        gate, Folders(tmp_path / "home"), distribution=DEBIAN, environ={"PATH": str(path.parent)}
    )
    found = toolbox.find("munged")
    assert found is not None
    assert (found.path, found.version, found.origin, found.prefix) == (path, "0.5.15", "path", None)
    assert found.env == {}
    assert toolbox.find("slurmctld") is None


def test_a_version_is_asked_for_once(tmp_path: Path, nowhere: None) -> None:
    path = program(tmp_path / "bin" / "munged")
    folders = Folders(tmp_path / "home").make()
    for _ in range(2):
        gate = ScriptedGate([(("munged", "--version"), (0, "munge-0.5.15\n", ""))])
        Toolbox(gate, folders, distribution=DEBIAN, environ={"PATH": str(path.parent)}).find("munged")
    assert gate.commands == []
    os.utime(path, ns=(1, 1))
    Toolbox(gate, folders, distribution=DEBIAN, environ={"PATH": str(path.parent)}).find("munged")
    assert len(gate.commands) == 1


def test_an_ordinary_user_gets_everything_unpacked_in_one_go(
    tmp_path: Path, nowhere: None, tools: dict[str, str]
) -> None:
    gate = fake_apt(["usr/sbin/munged", "usr/sbin/slurmctld-wlm", "usr/lib/x86_64-linux-gnu/libmunge.so.2"])
    folders = Folders(tmp_path / "home")
    said: list[str] = []
    toolbox = Toolbox(gate, folders, distribution=DEBIAN, environ=tools, root=False)
    found = toolbox.ensure(["munged", "slurmctld"], said.append)
    prefix = found["munged"].prefix
    assert prefix is not None and prefix.parent == folders.programs / "debian-12"
    assert found["slurmctld"].path == prefix / "usr/sbin/slurmctld"
    assert found["slurmctld"].version == "22.05.8"
    assert found["munged"].env == {"LD_LIBRARY_PATH": str(prefix / "usr/lib/x86_64-linux-gnu")}
    assert found["munged"].beside("usr/lib/*/nothing", "usr/lib/*/libmunge.so.2") is not None
    downloads = [command.argv for command in gate.commands if "--download-only" in command.argv]
    assert [argv[-2:] for argv in downloads] == [("munge", "slurmctld")]
    assert any("unpacking into" in line for line in said)


def test_what_is_there_costs_nothing(tmp_path: Path, nowhere: None, tools: dict[str, str]) -> None:
    gate = fake_apt(["usr/sbin/munged"])
    folders = Folders(tmp_path / "home")
    Toolbox(gate, folders, distribution=DEBIAN, environ=tools, root=False).ensure(["munged"])
    before = len(gate.commands)
    with FileLock(folders.programs / ".lock", "test"):
        Toolbox(gate, folders, distribution=DEBIAN, environ=tools, root=False).ensure(["munged"])
    assert len(gate.commands) == before


def test_nothing_half_unpacked_is_ever_used(tmp_path: Path, nowhere: None, tools: dict[str, str]) -> None:
    gate = fake_apt(["usr/sbin/munged"])
    whole = ScriptedGate(gate._table)
    gate._table.insert(0, (("dpkg",), (2, "", "dpkg-deb: error: no space left on device")))
    folders = Folders(tmp_path / "home")
    with pytest.raises(MissingProgram) as caught:
        Toolbox(gate, folders, distribution=DEBIAN, environ=tools, root=False).ensure(["munged"])
    assert "no space left" in (caught.value.detail or "")
    assert Toolbox(gate, folders, distribution=DEBIAN, environ=tools).find("munged") is None
    assert Toolbox(whole, folders, distribution=DEBIAN, environ=tools, root=False).ensure(["munged"])


def test_another_distribution_is_told_its_command(tmp_path: Path, nowhere: None) -> None:
    toolbox = Toolbox(ScriptedGate(), Folders(tmp_path), distribution=FEDORA, environ={"PATH": ""}, root=True)
    with pytest.raises(MissingProgram) as caught:
        toolbox.ensure(["munged", "slurmctld"])
    error = caught.value
    assert (
        "munged (vouches to Slurm for who sends a message), slurmctld (Slurm's controller)" in error.message
    )
    assert error.todo == "Install them with: sudo dnf install munge slurm-slurmctld"
    assert error.where == "Fedora Linux 41"


def test_a_package_that_does_not_hold_its_program_is_an_error(
    tmp_path: Path, nowhere: None, tools: dict[str, str]
) -> None:
    toolbox = Toolbox(fake_apt([]), Folders(tmp_path / "h"), distribution=DEBIAN, environ=tools, root=False)
    with pytest.raises(MissingProgram) as caught:
        toolbox.ensure(["munged"])
    assert caught.value.cause == "they were installed, and are still not found"


def test_fresh_lists_are_not_read_again(tmp_path: Path) -> None:
    gate = fake_apt(["usr/sbin/munged"])
    unpack(gate, ["munge"], tmp_path, lambda line: None)
    (tmp_path / ".apt/lists/mirror_Packages").touch()
    gate.commands.clear()
    unpack(gate, ["munge"], tmp_path, lambda line: None)
    assert [command.argv[-1] for command in gate.commands if command.argv[0] == "apt-get"] == ["munge"]


class TestNoDaemons:
    """While packages are installed no daemon of theirs starts; afterwards all is as before."""

    def test_the_policy_comes_and_goes(self, tmp_path: Path) -> None:
        policy = tmp_path / "usr/sbin/policy-rc.d"
        cluster = tmp_path / "etc/postgresql-common/createcluster.d/ai-how.conf"
        with no_daemons(tmp_path):
            assert f"kill -0 {os.getpid()}" in policy.read_text() and os.access(policy, os.X_OK)
            assert "create_main_cluster = false" in cluster.read_text()
        assert not policy.exists() and not cluster.parent.parent.exists()

    def test_a_policy_of_the_machine_is_kept(self, tmp_path: Path) -> None:
        policy = tmp_path / "usr/sbin/policy-rc.d"
        program(policy).write_text("#!/bin/sh\nexit 101\n")
        with pytest.raises(RuntimeError), no_daemons(tmp_path):
            assert "before-ai-how" in policy.read_text()
            raise RuntimeError("the installation fails")
        assert policy.read_text() == "#!/bin/sh\nexit 101\n" and os.access(policy, os.X_OK)
        assert list(policy.parent.iterdir()) == [policy]

    def test_what_a_killed_installation_left_is_put_right(self, tmp_path: Path) -> None:
        policy = tmp_path / "usr/sbin/policy-rc.d"
        program(policy).write_text("#!/bin/sh\nexit 0\n")
        killed = no_daemons(tmp_path)
        killed.__enter__()  # and never left
        with no_daemons(tmp_path):
            pass
        assert policy.read_text() == "#!/bin/sh\nexit 0\n"


def test_broken_memory_of_versions_is_no_error(tmp_path: Path, nowhere: None) -> None:
    path = program(tmp_path / "bin" / "munged")
    folders = Folders(tmp_path / "home").make()
    (folders.programs / ".versions.json").write_text("{")
    gate = ScriptedGate([(("munged", "--version"), (0, "munge-0.5.15\n", ""))])
    found = Toolbox(gate, folders, distribution=DEBIAN, environ={"PATH": str(path.parent)}).find("munged")
    assert found is not None and found.version == "0.5.15"
    assert json.loads((folders.programs / ".versions.json").read_text())


def test_root_gets_packages_by_apt_and_no_daemon_with_them(tmp_path: Path) -> None:
    (tmp_path / "usr/bin").mkdir(parents=True)
    (tmp_path / "usr/bin/systemctl").touch()
    policies: list[bool] = []

    def apt_get(command: Command) -> Answer:
        policies.append((tmp_path / "usr/sbin/policy-rc.d").exists())
        if "install" in command.argv:
            unit = tmp_path / "usr/lib/systemd/system/munge.service"
            unit.parent.mkdir(parents=True)
            unit.touch()
        return (0, "", "")

    gate = ScriptedGate([(("apt-get",), apt_get), (("systemctl", "disable"), (0, "", ""))])
    install(gate, ["munge"], lambda line: None, root=tmp_path)
    assert [command.argv[-1] for command in gate.commands] == ["update", "munge", "munge"]
    assert gate.commands[-1].argv == ("systemctl", "disable", "munge")
    assert gate.commands[1].env["DEBIAN_FRONTEND"] == "noninteractive"
    assert policies == [True, True]


def test_a_mirror_that_refuses_is_named_and_not_only_what_is_missing_for_it(tmp_path: Path) -> None:
    def apt_get(command: Command) -> Answer:
        if "update" in command.argv:
            return (100, "", "E: Failed to fetch http://mirror/InRelease  Unable to connect to mirror:80:\n")
        return (100, "", "E: Unable to locate package munge\n")

    gate = ScriptedGate([(("apt-get",), apt_get)])
    with pytest.raises(CommandFailed) as caught:
        install(gate, ["munge"], lambda line: None, root=tmp_path)
    assert "Unable to connect to mirror:80" in (caught.value.detail or "")
    assert "APT::Update::Error-Mode=any" in gate.commands[0].argv
