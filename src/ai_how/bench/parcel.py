"""Exchanges as bytes, to send them from one process to another: columns, compressed. Pure."""

from __future__ import annotations

import json
import struct
import zlib
from array import array
from collections.abc import Sequence
from typing import Any

from ai_how.bench.exchange import ChatExchange, Exchange

_TIMES = ("due", "woke", "sent", "first", "done")


def packed(exchanges: Sequence[Exchange]) -> bytes:
    """All that figures are made of; a parser's state is not."""
    errors = sorted({one.error for one in exchanges})
    number = {error: index for index, error in enumerate(errors)}
    chat = bool(exchanges) and isinstance(exchanges[0], ChatExchange)
    columns = [array("d", (getattr(one, name) for one in exchanges)) for name in _TIMES]
    columns.append(array("d", (one.status for one in exchanges)))
    columns.append(array("d", (2 * one.queued + one.resent for one in exchanges)))
    columns.append(array("d", (number[one.error] for one in exchanges)))
    if chat:
        chats = [one for one in exchanges if isinstance(one, ChatExchange)]
        columns.append(array("d", (one.last for one in chats)))
        columns.append(array("d", (one.events for one in chats)))
        columns.append(array("d", (-1 if one.tokens is None else one.tokens for one in chats)))
        columns.append(array("d", (len(one.gaps) for one in chats)))
        columns.append(array("d", (gap for one in chats for gap in one.gaps)))
    head = json.dumps({"count": len(exchanges), "errors": errors, "chat": chat}).encode()
    body = b"".join(column.tobytes() for column in columns)
    return zlib.compress(struct.pack("<I", len(head)) + head + body, 1)


def unpacked(data: bytes, offset: float = 0.0) -> list[Exchange]:
    """What was packed, its times moved by ``offset`` seconds (the sender's clock less ours)."""
    text = zlib.decompress(data)
    (length,) = struct.unpack_from("<I", text)
    head: dict[str, Any] = json.loads(text[4 : 4 + length])
    values = array("d", text[4 + length :])
    count = head["count"]
    column = [values[index * count : (index + 1) * count] for index in range(12 if head["chat"] else 8)]
    gaps = values[12 * count :]
    found: list[Exchange] = []
    used = 0
    for index in range(count):
        due, woke, sent, first, done = (_moved(column[place][index], offset) for place in range(5))
        status, flags = int(column[5][index]), int(column[6][index])
        error = head["errors"][int(column[7][index])]
        queued, resent = bool(flags & 2), bool(flags & 1)
        if not head["chat"]:
            found.append(Exchange(due, woke, sent, first, done, status, error, queued, resent))
            continue
        tokens, own = int(column[10][index]), int(column[11][index])
        found.append(
            ChatExchange(
                due, woke, sent, first, done, status, error, queued, resent,
                last=_moved(column[8][index], offset), events=int(column[9][index]),
                tokens=None if tokens < 0 else tokens, gaps=list(gaps[used : used + own]), ended=True,
            )
        )  # fmt: skip
        used += own
    return found


def _moved(time: float, offset: float) -> float:
    """0 stands for what did not come to be, on every clock."""
    return time - offset if time else 0.0
