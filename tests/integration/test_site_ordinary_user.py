"""The whole way of somebody without root: a site up, a job run, the site down, in a folder of their own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from live_site import REPOSITORY, LiveSite, make_home, until

#: Of its own for each run, so that two runs on one machine do not meet.
USER = f"ai-how-{os.getpid()}"


@pytest.fixture
def account() -> Iterator[pwd.struct_passwd]:
    """An account made for the test and gone after it."""
    if os.geteuid() != 0:
        pytest.skip("the other tests here run as an ordinary user already; only root can become another one")
    subprocess.run(["useradd", "--no-create-home", "--shell=/bin/sh", USER], check=True)
    yield pwd.getpwnam(USER)
    # By force: what a job of the account's has left may still be ending.
    subprocess.run(["userdel", "--force", USER], check=True, capture_output=True)


@pytest.fixture
def own_site(account: pwd.struct_passwd) -> Iterator[LiveSite]:
    """A site of that account's, in a data folder of its own with the runtime environments that are built."""
    home = make_home(owner=account.pw_uid)
    ids = (f"--reuid={account.pw_uid}", f"--regid={account.pw_gid}", "--clear-groups")
    site = LiveSite(
        home, "own", wrap=("setpriv", *ids, "env", f"HOME={home}", f"USER={USER}", f"LOGNAME={USER}")
    )
    site.write(count=2)
    for path in (home / "files", site.folder, site.file):
        os.chown(path, account.pw_uid, account.pw_gid)
    try:
        yield site
    finally:
        site.remove()
        shutil.rmtree(home)


@pytest.mark.needs_root
def test_an_ordinary_user_has_a_site(own_site: LiveSite, account: pwd.struct_passwd) -> None:
    readable = subprocess.run([*own_site.wrap, "test", "-r", str(REPOSITORY / "src")], check=False)
    if readable.returncode != 0:
        pytest.skip(f"an ordinary user cannot read {REPOSITORY}, and the tests run as root")
    shared_memory = set(Path("/dev/shm").iterdir())
    own_site.run("up")
    assert own_site.is_up()
    owners = {os.stat(f"/proc/{pid}").st_uid for pid in own_site.processes()}
    assert owners == {account.pw_uid}
    assert own_site.shell("srun", "--nodes=2", "id", "--user").split() == [str(account.pw_uid)] * 2
    job_id = own_site.sbatch("--gres=gpu:1", "--wrap=echo $CUDA_VISIBLE_DEVICES $USER")
    own_site.wait_for_job(job_id, "COMPLETED")
    assert own_site.printed(job_id) == f"0 {USER}\n"
    until(lambda: own_site.states().get(job_id) == "COMPLETED", "accounting knows the job")
    foreign = [path for path in own_site.home.rglob("*") if path.lstat().st_uid != account.pw_uid]
    assert [path for path in foreign if not path.is_relative_to(own_site.home / "envs")] == []
    own_site.run("down")
    assert own_site.processes() == {}
    left = set(Path("/dev/shm").iterdir()) - shared_memory
    assert not [path for path in left if path.exists() and path.stat().st_uid == account.pw_uid]
