"""When to ask again, and when to give up. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from ai_how.client.model import NoAnswer, Refused
from ai_how.errors import AiHowError, TimedOut

#: Statuses that pass by themselves: a model wakes, its replica is replaced. 429 does not: the caller asks too much.
_PASSING = (502, 503)
#: Seconds between two tries to reach a gateway whose tunnel is being opened anew.
_KNOCK = 0.5
#: A try that lasted longer had reached somebody; connecting alone takes at most five seconds.
_HELD = 6.0


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds: ``wake`` for a model on its way, ``reconnect`` for a connection that broke."""

    wake: float = 600.0
    reconnect: float = 0.0


class Tries:
    """One question, asked until it is answered: when it was asked first, and since when nobody has been there."""

    def __init__(self, patience: Patience, now: float) -> None:
        self._patience = patience
        self._began = self._asked = now
        self._lost: float | None = None
        self._dropped = False

    def again(self, now: float) -> None:
        """It is asked once more at ``now``, a monotonic time in seconds."""
        self._asked = now

    def pause(self, error: AiHowError, now: float) -> float:
        """Seconds to wait after ``error`` came at ``now``. Raises like :func:`pause`."""
        if isinstance(error, NoAnswer) and error.dropped and not error.begun and not self._dropped:
            # A connection kept from before, that a gateway which was restarted has closed: once, at once.
            self._dropped = True
            return 0.0
        if not isinstance(error, NoAnswer):
            self._lost = None
            return pause(error, now - self._began, self._patience)
        if self._lost is None or now - self._asked > _HELD:
            # Somebody held the connection: it is lost since now, however long the question has been waiting.
            self._lost = now
        return pause(error, now - self._lost, self._patience)


def pause(error: AiHowError, waited: float, patience: Patience) -> float:
    """Seconds to wait before asking again; ``waited`` are the seconds since the wait began.

    Raises ``error`` itself when asking again is of no use, and :class:`TimedOut` when the patience is at its end.
    """
    if isinstance(error, NoAnswer):
        if error.begun or waited >= patience.reconnect:
            raise error
        return min(_KNOCK, patience.reconnect - waited)
    if not isinstance(error, Refused) or error.status not in _PASSING or error.retry_after is None:
        raise error
    left = patience.wake - waited
    if patience.wake <= 0:
        raise error
    if left <= 0:
        raise TimedOut(
            f"the model was not ready within {patience.wake:g} s",
            where=error.where,
            cause=error.message,
            todo=error.todo,
        ) from error
    return min(max(error.retry_after, _KNOCK), left)
