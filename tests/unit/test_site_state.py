"""What a site keeps about itself."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from ai_how.errors import AiHowError
from ai_how.services import Layout
from ai_how.site.state import SiteState


@pytest.fixture
def state(tmp_path: Path) -> SiteState:
    made = SiteState(Layout(tmp_path / "site"))
    made.make_folders(shared_with_accounts=False)
    return made


def test_every_folder_is_for_its_owner_alone(state: SiteState, tmp_path: Path) -> None:
    folders = [path for path in (tmp_path / "site").rglob("*") if path.is_dir()]
    assert len(folders) >= 10
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o700 for path in folders)


def test_an_account_of_a_service_may_pass_through_and_not_look(tmp_path: Path) -> None:
    SiteState(Layout(tmp_path)).make_folders(shared_with_accounts=True)
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o711
    assert stat.S_IMODE((tmp_path / "etc").stat().st_mode) == 0o700


def test_ports_of_nodes_that_are_gone_are_kept(state: SiteState) -> None:
    state.set_ports({"gateway": 15000, "slurmd-node05": 15005})
    state.set_ports({"gateway": 15001})
    assert state.ports() == {"gateway": 15001, "slurmd-node05": 15005}
    state.restore_ports({"gateway": 15000})
    assert state.ports() == {"gateway": 15000}


def test_secrets_are_made_once_and_closed(state: SiteState, tmp_path: Path) -> None:
    assert state.secrets(["one"], make=False) == {"one": ""}
    first = state.secrets(["one", "two"], make=True)
    assert len(set(first.values())) == 2 and all(len(value) >= 32 for value in first.values())
    assert state.secrets(["one", "two"], make=True) == first
    files = list((tmp_path / "site/etc/secrets").iterdir())
    assert sorted(file.name for file in files) == ["one", "two"]
    assert all(stat.S_IMODE(file.stat().st_mode) == 0o600 for file in files)


def test_identity_remembers_when_the_site_was_made(state: SiteState) -> None:
    assert not state.exists and state.identity() == {}
    state.set_identity("laptop", Path("/a/cluster.yaml"))
    created = state.identity()["created"]
    state.set_identity("laptop", Path("/b/cluster.yaml"))
    assert state.identity() == {"created": created, "name": "laptop", "file": "/b/cluster.yaml"}


def test_a_state_that_cannot_be_read_is_told_with_its_file(state: SiteState, tmp_path: Path) -> None:
    (tmp_path / "site/state/ports.json").write_text('{"gateway": 15')
    with pytest.raises(AiHowError) as caught:
        state.ports()
    assert caught.value.where is not None and caught.value.where.endswith("state/ports.json")
    assert caught.value.todo


def test_the_journal_is_a_line_an_event(state: SiteState, tmp_path: Path) -> None:
    state.journal(event="start", step="create:x")
    state.journal(event="failed", error="with a\nline break")
    lines = (tmp_path / "site/state/journal.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["start", "failed"]
