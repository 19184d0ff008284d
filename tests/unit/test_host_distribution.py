"""Which distribution this is, and what one types there."""

from __future__ import annotations

import pytest

from ai_how.host.distribution import install_command, parse_os_release
from ai_how.host.model import Distribution
from ai_how.host.programs import CATALOGUE

DEBIAN = """PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
VERSION_CODENAME=bookworm
ID=debian
"""
UBUNTU = 'PRETTY_NAME="Ubuntu 24.04.1 LTS"\nVERSION_ID="24.04"\nID=ubuntu\nID_LIKE=debian\n'
ROCKY = 'NAME="Rocky Linux"\nVERSION_ID="9.4"\nID="rocky"\nID_LIKE="rhel centos fedora"\n'
ARCH = 'NAME="Arch Linux"\nPRETTY_NAME="Arch Linux"\nID=arch\nBUILD_ID=rolling\n'


@pytest.mark.parametrize(
    ("text", "release", "family"),
    [
        (DEBIAN, "debian-12", "debian"),
        (UBUNTU, "ubuntu-24.04", "debian"),
        (ROCKY, "rocky-9.4", "fedora"),
        (ARCH, "arch", "arch"),
        ("ID=opensuse-leap\nVERSION_ID='15.6'\n", "opensuse-leap-15.6", "suse"),
        ("", "linux", "unknown"),
        ('# a comment\nnot a line\nID="unclosed\nVERSION_ID=1\n', '"unclosed-1', "unknown"),
    ],
)
def test_the_release_and_the_family(text: str, release: str, family: str) -> None:
    distribution = parse_os_release(text)
    assert (distribution.release, distribution.family) == (release, family)


def test_the_name_is_the_pretty_one_where_there_is_one() -> None:
    assert parse_os_release(DEBIAN).name == "Debian GNU/Linux 12 (bookworm)"
    assert parse_os_release(ROCKY).name == "Rocky Linux"
    assert parse_os_release("").name == "Linux"


@pytest.mark.parametrize(
    ("text", "command"),
    [
        (DEBIAN, "sudo apt-get install --no-install-recommends munge slurmctld"),
        (ROCKY, "sudo dnf install munge slurm-slurmctld"),
        (ARCH, "sudo pacman -S munge slurm-llnl"),
    ],
)
def test_the_command_that_installs(text: str, command: str) -> None:
    distribution = parse_os_release(text)
    packages = [
        name for program in ("slurmctld", "munged") for name in CATALOGUE[program].packages_for(distribution)
    ]
    assert install_command(distribution, packages) == command


def test_no_command_is_better_than_a_wrong_one() -> None:
    assert install_command(parse_os_release("ID=plan9\n"), ["munge"]) is None
    assert install_command(parse_os_release(DEBIAN), []) is None


def test_every_package_for_ubuntu_is_one_that_its_index_names() -> None:
    ubuntu = parse_os_release(UBUNTU)
    assert {package for program in CATALOGUE.values() for package in program.packages_for(ubuntu)} == {
        "fio", "libgomp1", "mariadb-client-core", "mariadb-server-core", "munge", "postgresql-16",
        "slurm-client", "slurmctld", "slurmd", "slurmdbd",
    }  # fmt: skip


def test_the_narrowest_key_wins() -> None:
    postgres = CATALOGUE["postgres"]
    assert postgres.packages_for(parse_os_release(DEBIAN)) == ("postgresql-15",)
    assert postgres.packages_for(parse_os_release(UBUNTU)) == ("postgresql-16",)
    assert postgres.packages_for(Distribution("debian", "14", "")) == ("postgresql",)
    assert postgres.packages_for(parse_os_release("ID=plan9\n")) == ()
