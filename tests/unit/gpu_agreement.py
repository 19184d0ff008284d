"""The planner's answers in the oracle's terms, and random cases for both."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import gpu_oracle as oracle
from gpu_oracle import Card, Spot, Wish

from ai_how.gpu.catalogue import KINDS
from ai_how.gpu.model import Conflict, Demand, Device, Held, Placement, Slice
from ai_how.gpu.plan import place

KIND = {kind.key: kind for kind in KINDS}
WHOLE = (-1, "whole")


def device(card: Card) -> Device:
    return Device(
        card.name,
        KIND[card.kind],
        mig=bool(oracle.TABLES[card.kind][3]),
        allowed=card.allowed,
        held=tuple(Held(Slice(card.name, start, name), who, runs) for start, name, who, runs in card.held),
        whole_for=card.whole[0] if card.whole else None,
        whole_running=bool(card.whole and card.whole[1]),
    )


def demand(wish: Wish) -> Demand:
    what: dict[str, Any] = {"profile": wish.what}
    if wish.what == "whole":
        what = {"whole": True}
    elif isinstance(wish.what, tuple):
        what = {"at_least": wish.what}
    spreading: Any = "spread" if wish.spread else "packed"
    return Demand(
        wish.name,
        wish.consumer,
        wish.count,
        device=wish.device,
        start=wish.start,
        spreading=spreading,
        **what,
    )


def judged(cards: tuple[Card, ...], wishes: tuple[Wish, ...], got: Placement) -> tuple[int, ...]:
    """Check by the oracle's tables that a placement is legal and meets all; how good it is, as the oracle counts."""
    of_card = {card.name: card for card in cards}
    numbers = {wish.name: number for number, wish in enumerate(wishes)}
    state: dict[str, set[Spot]] = {card.name: set() for card in cards}
    spots: list[tuple[Card, Spot]] = []
    takers: list[int] = []

    def there(name: str, spot: Spot, taker: int) -> None:
        assert spot not in state[name]
        state[name].add(spot)
        spots.append((of_card[name], spot))
        takers.append(taker)

    for grant in got.grants:
        spot = (grant.slice.start, grant.slice.profile) if grant.slice else WHOLE
        card, wish = of_card[grant.device], wishes[numbers[grant.demand]]
        assert oracle.does(wish, card, spot)
        assert grant.consumer == wish.consumer
        mine = card.whole[0] == grant.consumer if card.whole else False
        assert grant.kept == (mine if spot == WHOLE else spot in card.there)
        there(grant.device, spot, numbers[grant.demand])
    assert Counter(grant.demand for grant in got.grants) == {wish.name: wish.count for wish in wishes}
    for left in got.left:
        assert of_card[left.device].there[left.start, left.profile][1]
        there(left.device, (left.start, left.profile), -1)
    for card in cards:
        if card.whole and card.whole[1] and not state[card.name] and card.whole[0] not in got.disturbed:
            there(card.name, WHOLE, -1)
        end = frozenset(state[card.name])
        assert end == oracle.WHOLE or oracle.legal(card.kind, end)
    before = {
        (card.name, spot): who for card in cards for spot, (who, runs) in card.there.items() if runs and who
    }
    lost, hosts, own = oracle.worth(before, spots, wishes, tuple(takers))
    assert lost == len(got.disturbed)
    rooms = [oracle.room(card.kind, frozenset(state[card.name]), card.profiles) for card in cards]
    opened = sum(bool(end) for end in state.values())
    stays = sum(spot in card.there for card, spot in spots)
    return (lost, -hosts, opened, -max(rooms), -sum(rooms), -own, -stays)


def agree(cards: tuple[Card, ...], wishes: tuple[Wish, ...]) -> str:
    """Assert that planner and oracle say the same of a case; what they say."""
    want = oracle.answer(cards, wishes)
    got = place([device(card) for card in cards], [demand(wish) for wish in wishes])
    if isinstance(got, Conflict):
        assert want is None, (cards, wishes, want, got)
        assert got.demands and got.why
        return "conflict"
    assert want is not None, (cards, wishes, got)
    assert judged(cards, wishes, got) == want, (cards, wishes, got)
    return "placed"


def case(chance: random.Random) -> tuple[tuple[Card, ...], tuple[Wish, ...]]:
    """Up to three devices, held or not, of mixed kinds, and up to five units of up to three demands."""
    consumers = ("x", "y", "z", "w")
    cards: list[Card] = []
    names: list[str] = []
    for number in range(chance.choice([1, 1, 2, 2, 3])):
        kind = chance.choice(["a30", "a30", "a100-40", "a100-80", "h100-80", "rtx-pro-6000", "l40"])
        card, pool = _card(chance, f"GPU-{number}", kind, consumers)
        cards.append(card)
        names += pool
    wishes: list[Wish] = []
    for number in range(chance.choice([1, 1, 2, 2, 3])):
        count = chance.choice([1, 1, 1, 2, 3])
        count = count if sum(wish.count for wish in wishes) + count <= 5 else 1
        what: str | tuple[int, int] = chance.choice(names) if names else "whole"
        roll = chance.random()
        if roll < 0.12:
            what = "whole"
        elif roll < 0.35:
            what = (chance.choice([1, 6, 10, 20, 40]), chance.choice([1, 1, 2, 3]))
        pinned = chance.choice(cards).name if chance.random() < 0.1 else None
        start = chance.choice([0, 2, 4, 6]) if what != "whole" and chance.random() < 0.06 else None
        spread = chance.random() < 0.25
        wishes.append(Wish(f"d{number}", chance.choice(consumers), count, what, pinned, start, spread))
    return tuple(cards), tuple(wishes)


def _card(chance: random.Random, name: str, kind: str, consumers: tuple[str, ...]) -> tuple[Card, list[str]]:
    names = list(oracle.TABLES[kind][3])
    if len(names) > 5:
        names = chance.sample(names, 4)
    held: list[tuple[int, str, str | None, bool]] = []
    whole = None
    if names and chance.random() < 0.6:
        end = chance.choice(oracle.ends(kind, tuple(sorted(names))))
        for start, profile in [spot for spot in sorted(end) if chance.random() < 0.7][:3]:
            who = chance.choice([*consumers, None])
            held.append((start, profile, who, who is not None and chance.random() < 0.6))
    elif chance.random() < 0.2:
        whole = (chance.choice(consumers), chance.random() < 0.5)
    allowed = None
    if names and chance.random() < 0.12:
        allowed = tuple(chance.sample(names, max(1, len(names) - 1)))
    return Card(name, kind, tuple(held), whole, allowed), names
