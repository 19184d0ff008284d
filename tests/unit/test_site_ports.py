"""Ports: asked for, recorded, chosen; never somebody else's."""

from __future__ import annotations

import pytest

from ai_how.errors import AiHowError
from ai_how.site.ports import FIRST, LAST, allocate

NAMES = [("gateway", None), ("mlflow", None), ("slurmctld", None)]


def test_each_name_gets_a_port_of_its_own_in_the_range() -> None:
    chosen = allocate("/a/site", NAMES, {}, {}, {})
    assert len(set(chosen.values())) == 3
    assert all(FIRST <= port <= LAST for port in chosen.values())


def test_what_was_recorded_is_kept() -> None:
    recorded = {"gateway": 20000, "mlflow": 20001, "slurmctld": 20002}
    assert allocate("/a/site", NAMES, recorded, {}, {}) == recorded


def test_a_recorded_port_that_somebody_took_is_given_up_and_another_is_found() -> None:
    recorded = {"gateway": 20000, "mlflow": 20001, "slurmctld": 20002}
    chosen = allocate("/a/site", NAMES, recorded, {20000: "nginx (process 9)"}, {})
    assert chosen["gateway"] not in (20000, 20001, 20002)
    assert (chosen["mlflow"], chosen["slurmctld"]) == (20001, 20002)


def test_what_the_file_asks_for_comes_first() -> None:
    asked = [("gateway", 20001), ("mlflow", None)]
    chosen = allocate("/a/site", asked, {"gateway": 20000, "mlflow": 20001}, {}, {})
    assert chosen["gateway"] == 20001 and chosen["mlflow"] not in (20000, 20001)


def test_a_port_that_is_asked_for_and_taken_is_an_error_with_holder_and_place() -> None:
    with pytest.raises(AiHowError, match=r"port 20000 for gateway is taken by nginx \(process 9\)") as caught:
        allocate(
            "/a", [("gateway", 20000)], {}, {20000: "nginx (process 9)"}, {"gateway": "cluster.yaml:3:4"}
        )
    assert caught.value.where == "cluster.yaml:3:4"
    assert caught.value.todo


def test_two_sites_begin_elsewhere_and_never_meet() -> None:
    one = allocate("/a/one", NAMES, {}, {}, {})
    other = allocate("/a/one", NAMES, {}, dict.fromkeys(one.values(), "the site 'one'"), {})
    assert not set(one.values()) & set(other.values())


def test_the_range_wraps_around() -> None:
    busy = dict.fromkeys(range(FIRST, LAST + 1), "somebody")
    del busy[FIRST + 5]
    assert allocate("/a/site", [("gateway", None)], {}, busy, {}) == {"gateway": FIRST + 5}
