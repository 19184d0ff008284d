"""The planner against the oracle, which tries everything: on one device in every state, and on several."""

from __future__ import annotations

import random
from collections import Counter

import gpu_oracle as oracle
import pytest
from gpu_agreement import agree, case, demand, device, judged
from gpu_oracle import Card, End, Wish

from ai_how.gpu.model import Conflict, Placement
from ai_how.gpu.plan import place

KINDS = ("a30", "a100-40", "a100-80", "h100-80", "rtx-pro-6000")
Wanted = tuple[tuple[str, int], ...]


def wished(wanted: Wanted) -> tuple[Wish, ...]:
    return tuple(Wish(name, "new", count, name) for name, count in wanted)


def occupied(kind: str, held: End) -> Card:
    """A device on which every slice runs for a consumer of its own."""
    return Card("GPU-0", kind, tuple((*spot, f"c{n}", True) for n, spot in enumerate(sorted(held))))


def agree_alone(kind: str, held: End, wanted: Wanted) -> bool:
    """Assert that planner and oracle say the same of one device; whether it can be."""
    card, wishes = occupied(kind, held), wished(wanted)
    want = oracle.alone(kind, held, wanted)
    got = place([device(card)], [demand(wish) for wish in wishes])
    if want is None:
        assert isinstance(got, Conflict), (kind, held, wanted)
        return False
    assert isinstance(got, Placement), (kind, held, wanted, got)
    lost, _, _, _, rooms, _, stays = judged((card,), wishes, got)
    assert (lost, rooms, stays) == want, (kind, held, wanted, got)
    return True


@pytest.mark.parametrize("kind", KINDS)
def test_every_multiset_on_an_empty_device(kind: str) -> None:
    # The media variants of one member of the family are enough.
    ends = ("gb",) if kind in ("a100-40", "h100-80") else ("gb", "+me")
    names = [name for name in oracle.TABLES[kind][3] if name.endswith(ends)]
    fits = [agree_alone(kind, frozenset(), wanted) for wanted in oracle.multisets(kind, tuple(names))]
    assert any(fits) and (kind in ("a30", "rtx-pro-6000") or not all(fits))


def pairs(kind: str, most: int, seed: int) -> list[tuple[End, Wanted]]:
    """So many of all pairs of a state and a multiset that fits an empty device."""
    chance = random.Random(seed)
    states = oracle.ends(kind)
    fitting = {tuple(sorted(Counter(name for _, name in end).items())) for end in states if end}
    wanted = sorted(fitting)
    return [(chance.choice(states), chance.choice(wanted)) for _ in range(most)]


@pytest.mark.parametrize("kind", KINDS)
def test_multisets_on_occupied_devices(kind: str) -> None:
    for held, wanted in pairs(kind, 25, seed=3):
        assert agree_alone(kind, held, wanted)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_multisets_on_occupied_devices(kind: str) -> None:
    for held, wanted in pairs(kind, 200, seed=4):
        assert agree_alone(kind, held, wanted)


def test_mixed_devices() -> None:
    chance = random.Random(5)
    said = Counter(agree(*case(chance)) for _ in range(80))
    assert min(said["placed"], said["conflict"]) > 15


@pytest.mark.slow
def test_many_mixed_devices() -> None:
    chance = random.Random(6)
    said = Counter(agree(*case(chance)) for _ in range(120))
    assert min(said["placed"], said["conflict"]) > 25


def test_the_two_oracles_agree() -> None:
    for held, wanted in pairs("a30", 60, seed=7):
        quick = oracle.alone("a30", held, wanted)
        slow = oracle.answer((occupied("a30", held),), wished(wanted))
        assert (quick is None) == (slow is None)
        assert slow is None or quick == (slow[0], slow[4], slow[6])


SIX = ("1g.5gb", "1g.10gb", "2g.10gb", "3g.20gb", "4g.20gb", "7g.40gb")


def driver_fails(order: list[str]) -> bool:
    """Whether placing each at the lowest free start, as a driver does, fails for slices in this order."""
    end: End = frozenset()
    for name in order:
        starts = oracle.TABLES["a100-40"][3][name][2]
        free = [
            end | {(s, name)}
            for s in starts
            if (s, name) not in end and oracle.legal("a100-40", end | {(s, name)})
        ]
        if not free:
            return True
        end = free[0]
    return False


def orders(wanted: Counter[str]) -> list[list[str]]:
    """Every order of a multiset, each once."""
    if not wanted.total():
        return [[]]
    return [[name, *rest] for name in wanted if wanted[name] for rest in orders(wanted - Counter({name: 1}))]


def test_packing_is_not_counting() -> None:
    """The figures of the docs: what counting accepts, what can be placed, and what a driver's own choice misses."""
    counted = oracle.multisets("a100-40", SIX)
    assert len(counted) == 102
    card = device(Card("GPU-0", "a100-40"))
    placed = [w for w in counted if isinstance(place([card], [demand(x) for x in wished(w)]), Placement)]
    assert len(counted) - len(placed) == 25
    table = oracle.TABLES["a100-40"][3]
    unlucky = [w for w in placed if any(driver_fails(order) for order in orders(Counter(dict(w))))]
    assert len(unlucky) == 32

    def largest_first(wanted: Wanted) -> list[str]:
        return sorted(Counter(dict(wanted)).elements(), key=lambda n: (-table[n][0], -table[n][1]))

    assert len([w for w in placed if driver_fails(largest_first(w))]) == 11
