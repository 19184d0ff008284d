"""What pip is told, uv is told."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ai_how.host import mirrors
from ai_how.run import Command, LocalGate

FILE = """[global]
index-url = https://mirror.example/simple
extra-index-url = https://one.example/simple https://two.example/simple
find-links =
    /srv/wheels
    /srv/more
cert = /etc/company.pem
[install]
trusted-host = mirror.example
"""


def test_files_and_environment_the_environment_being_stronger() -> None:
    settings = mirrors.pip_settings(
        ["[global]\nindex-url = https://old.example/simple\n", FILE], {"PIP_CERT": "/other.pem"}
    )
    assert settings["index-url"] == "https://mirror.example/simple"
    assert settings["cert"] == "/other.pem"
    assert settings["trusted-host"] == "mirror.example"


def test_a_broken_file_is_left_to_pip_to_complain_about() -> None:
    assert mirrors.pip_settings(["no section\n", FILE], {})["cert"] == "/etc/company.pem"


def test_everything_has_its_name_in_uv() -> None:
    told = mirrors.uv_settings(mirrors.pip_settings([FILE], {"PIP_PROXY": "http://proxy:3128"}), {})
    assert told["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"
    assert told["UV_INDEX"] == "https://one.example/simple https://two.example/simple"
    assert told["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert told["UV_FIND_LINKS"] == "/srv/wheels,/srv/more"
    assert told["SSL_CERT_FILE"] == "/etc/company.pem"
    assert told["UV_INSECURE_HOST"] == "mirror.example"
    assert told["ALL_PROXY"] == "http://proxy:3128"


def test_what_the_user_told_uv_stays() -> None:
    pip = mirrors.pip_settings([FILE], {})
    told = mirrors.uv_settings(pip, {"UV_INDEX_URL": "https://mine.example/simple", "UV_FIND_LINKS": "/mine"})
    assert "UV_DEFAULT_INDEX" not in told
    assert "UV_FIND_LINKS" not in told


def test_without_settings_uv_uses_the_certificates_of_the_machine_and_fetches_no_python() -> None:
    assert mirrors.uv_settings({}, {}) == {
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_PROGRESS": "1",
        "UV_SYSTEM_CERTS": "1",
    }


def test_folders_of_wheels_that_are_not_there_are_passed_over(tmp_path: Path) -> None:
    assert mirrors.can_be_read("https://mirror.example/wheels")
    assert mirrors.can_be_read(str(tmp_path)) and mirrors.can_be_read(f"file://{tmp_path}")
    assert not mirrors.can_be_read(str(tmp_path / "gone"))
    assert not mirrors.can_be_read(f"file://{tmp_path}/gone")


def test_pip_can_be_told_to_read_no_file() -> None:
    assert mirrors.configuration_files({"PIP_CONFIG_FILE": os.devnull}) == []


def test_the_launcher_can_run_it_by_its_path(tmp_path: Path) -> None:
    (tmp_path / "pip.conf").write_text("[global]\nindex-url = https://it's.example/simple\n")
    env = {"HOME": str(tmp_path), "PIP_CONFIG_FILE": str(tmp_path / "pip.conf"), "PIP_INDEX_URL": ""}
    done = LocalGate().run(Command((sys.executable, "-I", str(mirrors.__file__)), env=env))
    assert """export UV_DEFAULT_INDEX='https://it'"'"'s.example/simple'""" in done.stdout.splitlines()
