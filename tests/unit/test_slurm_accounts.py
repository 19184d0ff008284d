"""What sacctmgr is told of the file's QOS and accounts."""

from __future__ import annotations

from pathlib import Path

import pytest

from ai_how.slurm.accounts import ALREADY, by_parent, limits, statements
from ai_how.spec.model import Account, Qos, SlurmConfig


def test_a_file_without_accounts_has_the_sites_own_alone() -> None:
    config = SlurmConfig()
    assert list(statements(config, "hpc", "ann")) == [
        ("add", "cluster", "hpc"),
        ("add", "account", "site", "cluster=hpc"),
        ("add", "user", "ann", "account=site", "cluster=hpc"),
        ("modify", "user", "ann", "set", "defaultaccount=site"),
    ]
    assert list(limits(config)) == []


def test_qos_come_before_who_may_use_them_and_parents_before_their_children() -> None:
    config = SlurmConfig(
        qos=(Qos(name="low"), Qos(name="high", preempt=("low",))),
        accounts=(
            Account(name="optics", parent="physics", users=("bob",)),
            Account(name="physics", qos=("high",), fairshare=5),
        ),
    )
    told = [" ".join(words) for words in statements(config, "hpc", "ann")]
    order = [
        "add qos high",
        "modify account site set qos=normal,low,high",
        "add account physics cluster=hpc parent=root fairshare=5",
        "modify account physics set qos=normal,high",
        "add account optics cluster=hpc parent=physics",
        "add user bob account=optics cluster=hpc",
        "add user ann account=optics cluster=hpc",
    ]
    assert [one for one in told if one in order] == order


def test_a_limit_that_is_not_asked_for_is_taken_away_but_preemption_is_never_emptied() -> None:
    config = SlurmConfig(
        qos=(
            Qos(name="low"),
            Qos(name="high", priority=9, max_gpus_per_user=0, preempt=("low",), grace_time="2m"),
        )
    )
    low, high = (" ".join(words) for words in limits(config))
    nothing = "Priority=0 MaxWall=-1 MaxJobsPerUser=-1 MaxTRESPerUser=gres/gpu=-1 GraceTime=0"
    assert low == f"modify qos low set {nothing}"
    assert "MaxTRESPerUser=gres/gpu=0" in high and high.endswith("GraceTime=120 Preempt=low")


def test_accounts_in_a_circle_are_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="a circle: a, b"):
        by_parent((Account(name="a", parent="b"), Account(name="b", parent="a")))


@pytest.mark.parametrize("version", ["22.05", "24.11"])
def test_whatever_sacctmgr_says_of_what_is_there_already_is_known(version: str) -> None:
    recorded = Path(__file__).parents[1] / "recorded/slurm" / version / "sacctmgr-again.txt"
    refused = recorded.read_text().split("$ ")[1:]
    assert {statement.split()[1] for statement in refused} == {"add", "modify"}
    for statement in refused:
        assert any(text in statement for text in ALREADY), statement
