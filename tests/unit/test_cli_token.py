"""`ai-how token`, on a site that was up and is not: the file is all it needs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ai_how.cli import main
from ai_how.errors import NotFound, UsageError
from ai_how.run import SystemClock
from ai_how.security import find_token, load_tokens
from ai_how.serving.gateway.ledger import Ledger
from ai_how.site import open_site
from ai_how.spec.template import laptop


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A site's folder, as a first `up` leaves it."""
    (tmp_path / "cluster.yaml").write_text(laptop("site"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AI_HOW_ROOT", str(tmp_path / "root"))
    monkeypatch.delenv("AI_HOW_FILE", raising=False)
    (tmp_path / "root" / "state").mkdir(parents=True)
    (tmp_path / "root" / "state" / "site.json").write_text("{}")
    return tmp_path / "root"


def facts(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    assert main(["token", *words, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_a_token_is_shown_once(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = facts(capsys, "create", "ada", "--owner", "Ada", "--model", "site-*", "--requests-per-minute", "9")
    listed = facts(capsys, "list")
    (one,) = listed["tokens"]
    assert {**one, "token": made["token"]} == {**made, "used_today": 0, "used_in_all": 0}
    assert (
        made["token"].startswith("aihow_")
        and made["token"] not in (site / "state" / "tokens.json").read_text()
    )
    entry = find_token(made["token"], load_tokens(site / "state" / "tokens.json").tokens)
    assert entry is not None and (entry.owner, entry.requests_per_minute, entry.expires) == ("Ada", 9, None)


def test_the_file_is_its_owners_alone(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts(capsys, "create", "ada")
    assert (site / "state" / "tokens.json").stat().st_mode & 0o777 == 0o600


def test_standard_output_is_the_token_and_nothing_else(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["token", "create", "ada", "--days", "30"]) == 0
    said = capsys.readouterr()
    assert find_token(said.out.strip(), load_tokens(site / "state" / "tokens.json").tokens)
    assert said.out.count("\n") == 1 and "not shown again" in said.err
    assert main(["token", "list"]) == 0
    assert (
        said.out.strip() not in (listed := capsys.readouterr().out)
        and "ada" in listed
        and "until 2" in listed
    )


def test_days_are_counted_from_now(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = facts(capsys, "create", "ada", "--days", "0.5")
    assert made["expires"] - made["created"] == pytest.approx(43200, abs=60)


def test_the_file_says_what_a_token_gets_that_asks_for_nothing(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = site.parent / "cluster.yaml"
    file.write_text(laptop("site") + "security: {tokens: {lifetime_days: 30, requests_per_minute: 60}}\n")
    made = facts(capsys, "create", "ada")
    assert made["requests_per_minute"] == 60
    assert made["expires"] - made["created"] == pytest.approx(30 * 86400, abs=60)
    other = facts(capsys, "create", "eve", "--days", "0", "--requests-per-minute", "0")
    assert (other["expires"], other["requests_per_minute"]) == (None, None)


def test_what_is_left_of_a_budget_is_listed(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts(capsys, "create", "ada", "--tokens-per-day", "9000", "--tokens-in-all", "10000")
    (entry,) = load_tokens(site / "state" / "tokens.json").tokens
    ledger = Ledger(site / "state" / "token-ledger", SystemClock())
    assert ledger.hold(entry, 1200) is None
    ledger.close()
    (one,) = facts(capsys, "list")["tokens"]
    assert (one["used_today"], one["used_in_all"]) == (1200, 1200)
    facts(capsys, "create", "ada", "--tokens-in-all", "10000", "--replace")
    (one,) = facts(capsys, "list")["tokens"]
    assert one["used_in_all"] == 1200  # the name has it, whatever token it is given
    assert main(["token", "list"]) == 0
    assert "1,200 of 10,000" in " ".join(capsys.readouterr().out.split())


def test_a_name_that_is_taken(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = facts(capsys, "create", "ada")["token"]
    assert "already" in facts(capsys, "create", "ada", code=UsageError.exit_code)["message"]
    new = facts(capsys, "create", "ada", "--replace")["token"]
    entries = load_tokens(site / "state" / "tokens.json").tokens
    assert [find_token(token, entries) is not None for token in (old, new)] == [False, True]


def test_what_is_revoked_is_gone(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    facts(capsys, "create", "ada")
    assert facts(capsys, "revoke", "ada") == {"revoked": "ada"}
    assert facts(capsys, "list") == {"tokens": []}
    assert "no token called 'ada'" in facts(capsys, "revoke", "ada", code=NotFound.exit_code)["message"]


@pytest.mark.parametrize("verb", ["create", "revoke"])
def test_the_sites_own_token_is_not_touched(
    site: Path, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    error = facts(capsys, verb, "owner", code=UsageError.exit_code)
    assert "gateway-token" in error["where"] and "ai-how up" in error["todo"]


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("--model", "a b"), "--model"),
        (("--requests-per-minute", "-1"), "--requests-per-minute"),
        (("--tokens-per-minute", "0"), "--tokens-per-minute"),
        (("--tokens-per-minute", "-7"), "--tokens-per-minute -7: that is too few"),
        (("--tokens-in-all", "-5"), "--tokens-in-all"),
        (("--days", "-1"), "--days"),
        (("--days", "nan"), "--days"),
        (("--owner", "a\nb"), "--owner"),
    ],
)
def test_what_makes_no_sense(
    site: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], option: str
) -> None:
    error = facts(capsys, "create", "ada", *words, code=UsageError.exit_code)
    # Nobody but us words it.
    assert option in error["message"] and not {"Input", "String", "pattern"} & {*error["message"].split()}
    assert not (site / "state" / "tokens.json").exists()


def test_a_site_that_was_never_up_has_no_gateway(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "cluster.yaml").write_text(laptop("site"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AI_HOW_ROOT", str(tmp_path / "root"))
    assert "never up" in facts(capsys, "create", "ada", code=UsageError.exit_code)["message"]
    assert not open_site().exists
