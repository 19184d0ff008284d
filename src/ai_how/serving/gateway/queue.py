"""A queue that is fair among those who stand in it: everybody in turn, and each by the order of coming. Pure."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class FairQueue(Generic[T]):
    """Round robin among holders; first come, first served for each. No step takes longer in a longer queue."""

    def __init__(self) -> None:
        self._holders: OrderedDict[str, OrderedDict[T, None]] = OrderedDict()
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def of(self, holder: str) -> int:
        """How many of this holder's stand in it."""
        return len(self._holders.get(holder, ()))

    def push(self, holder: str, item: T) -> None:
        self._holders.setdefault(holder, OrderedDict())[item] = None
        self._length += 1

    def first(self) -> T:
        """Who is next. Raises :class:`IndexError` when nobody is."""
        for items in self._holders.values():
            return next(iter(items))
        raise IndexError("nobody waits")

    def pop(self) -> T:
        """Take who is next; its holder's others come after everybody else's next one."""
        item = self.first()
        holder, items = next(iter(self._holders.items()))
        self._take(holder, items, item)
        if items:
            self._holders.move_to_end(holder)
        return item

    def remove(self, holder: str, item: T) -> None:
        """Take out one that waits no longer; one that is not there is no fault."""
        items = self._holders.get(holder)
        if items is not None and item in items:
            self._take(holder, items, item)

    def _take(self, holder: str, items: OrderedDict[T, None], item: T) -> None:
        del items[item]
        self._length -= 1
        if not items:
            del self._holders[holder]

    def drain(self) -> list[T]:
        """Take everybody, in their order."""
        return [self.pop() for _ in range(self._length)]
