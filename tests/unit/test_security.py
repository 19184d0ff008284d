"""Tokens, private files, redaction."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from ai_how.errors import AiHowError, NotFound, UsageError
from ai_how.security import (
    Grant,
    Redactor,
    create_token,
    digest,
    find_token,
    load_tokens,
    read_private,
    revoke_token,
    write_private,
)


def test_a_token_opens_and_another_does_not(tmp_path: Path) -> None:
    token = create_token(tmp_path / "tokens.json", "admin")
    entries = load_tokens(tmp_path / "tokens.json").tokens
    found = find_token(token, entries)
    assert found is not None and found.name == "admin"
    assert find_token(token + "x", entries) is None
    assert find_token("", entries) is None


def test_the_file_holds_digests_and_no_token(tmp_path: Path) -> None:
    path = tmp_path / "etc" / "tokens.json"
    token = create_token(path, "admin")
    assert token not in path.read_text()
    assert json.loads(path.read_text())["tokens"][0]["sha256"] == digest(token)
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_new_token_of_the_same_name_takes_the_place_of_the_old(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    old, other, new = (create_token(path, name, replace=True) for name in ("a", "b", "a"))
    entries = load_tokens(path).tokens
    assert [find_token(token, entries) is not None for token in (old, other, new)] == [False, True, True]


def test_a_name_is_not_taken_by_accident(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    token = create_token(path, "a")
    with pytest.raises(UsageError, match="already") as caught:
        create_token(path, "a")
    assert "--replace" in (caught.value.todo or "")
    assert find_token(token, load_tokens(path).tokens)


def test_what_a_token_opens_is_written_down(tmp_path: Path) -> None:
    grant = Grant(owner="Ada", models=("site-*", "tiny"), expires=2000.0, requests_per_minute=60)
    token = create_token(tmp_path / "tokens.json", "ada", grant)
    entry = find_token(token, load_tokens(tmp_path / "tokens.json").tokens)
    assert entry is not None
    assert [entry.opens(name) for name in ("site-facts", "tiny", "tiny2", "Site-x")] == [
        True,
        True,
        False,
        False,
    ]
    assert [entry.expired(now) for now in (1999.9, 2000.0)] == [False, True]
    shown = entry.as_json()
    assert "sha256" not in shown and shown["owner"] == "Ada" and shown["models"] == ("site-*", "tiny")


def test_a_token_without_limits_opens_every_model_for_ever() -> None:
    assert Grant().opens("any/thing") and not Grant().expired(9e12)


def test_a_revoked_token_opens_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    token, other = create_token(path, "a"), create_token(path, "b")
    assert revoke_token(path, "a").name == "a"
    entries = load_tokens(path).tokens
    assert find_token(token, entries) is None and find_token(other, entries)
    with pytest.raises(NotFound, match="no token called 'a'") as caught:
        revoke_token(path, "a")
    assert caught.value.todo == "There are: b."


def test_a_limit_that_this_version_does_not_know_is_not_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    create_token(path, "a")
    facts = json.loads(path.read_text())
    facts["tokens"][0]["only_on_sundays"] = True
    write_private(path, json.dumps(facts))
    with pytest.raises(AiHowError, match="cannot be used"):
        load_tokens(path)


@pytest.mark.parametrize(
    "wrong", [{"models": ["a b"]}, {"models": ["$(x)"]}, {"requests_per_minute": 0}, {"owner": "a\nb"}]
)
def test_a_grant_that_is_none(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Grant.model_validate(wrong)


def test_a_name_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(AiHowError, match="cannot name a token"):
        create_token(tmp_path / "tokens.json", "a b")
    assert not (tmp_path / "tokens.json").exists()


def test_a_digests_file_open_to_others_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "tokens.json"
    create_token(path, "admin")
    path.chmod(0o640)
    with pytest.raises(AiHowError, match="open to other accounts") as caught:
        load_tokens(path)
    assert "chmod 600" in (caught.value.todo or "")


@pytest.mark.parametrize(
    "text", ["", "[]", '{"version": "9"}', '{"tokens": [{"name": "a", "sha256": "short"}]}']
)
def test_a_digests_file_that_is_none(tmp_path: Path, text: str) -> None:
    write_private(tmp_path / "tokens.json", text)
    with pytest.raises(AiHowError, match="cannot be used"):
        load_tokens(tmp_path / "tokens.json")


def test_a_private_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    write_private(path, "first")
    with pytest.raises(UnicodeEncodeError):
        write_private(path, "\ud800")
    assert read_private(path) == "first"
    assert [entry.name for entry in tmp_path.iterdir()] == ["secret"]


def test_a_private_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        read_private(tmp_path / "secret")


def test_redaction_of_what_is_known_and_of_what_looks_like_a_secret() -> None:
    redact = Redactor(["hunter22", "hunter22-long"])
    assert redact("a hunter22-long b hunter22") == "a [redacted] b [redacted]"
    assert redact("Authorization: Bearer abcdefgh.123") == "Authorization: Bearer [redacted]"
    assert redact("postgresql://mlflow:pa55@127.0.0.1/db") == "postgresql://mlflow:[redacted]@127.0.0.1/db"
    assert redact("token aihow_0123456789") == "token aihow_[redacted]"


def test_short_words_are_no_secrets() -> None:
    assert Redactor(["a", ""])("a banana") == "a banana"
