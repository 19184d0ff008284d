"""Devices drawn slice by slice with their owners: as text of 80 columns and as SVG. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase
from xml.etree import ElementTree as ET

from ai_how.gpu.demand import Entry
from ai_how.gpu.model import Device, Placement, Slice
from ai_how.gpu.render import owner_of, product_of, profile_of, slices_of, whole_of

#: Columns of a device's inside: 4, 8 and 12 memory slices divide it, and with its left edge it stays within 80.
COLUMNS = 72
KEYS = ascii_uppercase + ascii_lowercase
NOBODY = "nobody"
_ASCII = str.maketrans("┌┬┐└┴┘─│·…", "++++++-|.~")


@dataclass(frozen=True)
class Cell:
    """A piece of a device, ``size`` memory slices from ``start`` on: ``what`` names its profile, ``owner`` whose it is.

    A free one has no owner; ``kept`` tells that it is there already.
    """

    start: int
    size: int
    what: str
    owner: str | None
    kept: bool = False


@dataclass(frozen=True)
class Span:
    """A piece of a line; ``owner`` is the number of whom it belongs to, for whoever has colours."""

    text: str
    owner: int | None = None


def cells(device: Device, entries: Sequence[Entry], left: Sequence[Slice] = ()) -> tuple[Cell, ...]:
    """A device from its first memory slice to its last, without gaps. One that is not cut is one cell.

    Of what is held, it shows the slices that were granted again, and those of ``left``, which stay beside them.
    """
    whole, granted = whole_of(device, entries), [*_granted(device, entries)]
    slices = device.kind.memory_slices
    held = device.whole_for if not granted else None
    if whole is not None or held or not slices or not device.mig:
        owner = owner_of(whole) if whole else held
        return (Cell(0, slices or 1, "whole" if owner else "free", owner, bool(whole and whole.grant.kept)),)
    taken = [*granted, *_left(device, left)]
    covered = {place for cell in taken for place in range(cell.start, cell.start + cell.size)}
    free = [Cell(place, 1, "free", None) for place in range(slices) if place not in covered]
    return tuple(sorted([*taken, *free], key=lambda cell: cell.start))


def _granted(device: Device, entries: Sequence[Entry]) -> Iterator[Cell]:
    for entry in slices_of(device, entries):
        one = entry.grant.slice
        assert one is not None
        size = profile_of(device, one).size
        yield Cell(one.start, size, one.profile, owner_of(entry), entry.grant.kept)


def _left(device: Device, left: Sequence[Slice]) -> Iterator[Cell]:
    consumers = {held.slice: held.consumer for held in device.held}
    for one in left:
        if one.device == device.id:
            owner = consumers.get(one) or NOBODY
            yield Cell(one.start, profile_of(device, one).size, one.profile, owner, kept=True)


def owners(devices: Sequence[Device], entries: Sequence[Entry], left: Sequence[Slice] = ()) -> dict[str, int]:
    """Every owner with its number, in the order in which the devices show them."""
    found: dict[str, int] = {}
    for device in devices:
        for cell in cells(device, entries, left):
            if cell.owner is not None:
                found.setdefault(cell.owner, len(found))
    return found


def key_of(number: int) -> str:
    """The short sign of an owner: A to Z, a to z, then numbers."""
    return KEYS[number] if number < len(KEYS) else str(number + 1)


def lines(
    devices: Sequence[Device], entries: Sequence[Entry], placement: Placement
) -> tuple[tuple[Span, ...], ...]:
    """The drawing as lines of spans, at most 80 columns wide: every device, then who the signs stand for."""
    known = owners(devices, entries, placement.left)
    drawn: list[tuple[Span, ...]] = []
    for device in devices:
        shown = cells(device, entries, placement.left)
        drawn.append((Span(_cut(_heading(device), 80)),))
        drawn += _box(device, shown, known)
        drawn += [(Span(f" {_room(device, shown, placement.remains)}"),)] if _is_cut(device, shown) else []
        drawn.append(())
    drawn += _legend(known, _sums(devices, entries, placement.left))
    return tuple(drawn)


def text(
    devices: Sequence[Device],
    entries: Sequence[Entry],
    placement: Placement,
    *,
    ascii_only: bool = False,
) -> str:
    """The drawing without colours; ``ascii_only`` for where box characters would not arrive whole."""
    rows = ["".join(span.text for span in line).rstrip() for line in lines(devices, entries, placement)]
    drawn = "\n".join(rows).strip("\n") + "\n"
    return plain(drawn) if ascii_only else drawn


def plain(words: str) -> str:
    """The same in ASCII."""
    return words.translate(_ASCII)


def _heading(device: Device) -> str:
    return "  ".join(part for part in (device.id, product_of(device), device.pci_address) if part)


def _is_cut(device: Device, shown: Sequence[Cell]) -> bool:
    """Whether the drawing shows memory slices, rather than one device as a whole."""
    return device.kind.memory_slices > 0 and shown[0].what != "whole" and device.mig


def _room(device: Device, shown: Sequence[Cell], remains: Mapping[str, str | None]) -> str:
    free = sum(cell.size for cell in shown if cell.owner is None)
    words = f"{free} of {device.kind.memory_slices} memory slices free"
    return f"{words}; still placeable: {remains[device.id] or 'nothing'}" if device.id in remains else words


def _box(device: Device, shown: Sequence[Cell], known: Mapping[str, int]) -> Iterator[tuple[Span, ...]]:
    unit = COLUMNS // (device.kind.memory_slices or 1)
    widths = [cell.size * unit - 1 for cell in shown]
    if len(shown) == 1:
        widths = [COLUMNS - 1]
    yield (Span("┌" + "┬".join("─" * width for width in widths) + "┐"),)
    for part in (0, 1):
        row = [Span("│")]
        for cell, width in zip(shown, widths, strict=True):
            number = None if cell.owner is None else known[cell.owner]
            row += [Span(_words(cell, number, part, width), number), Span("│")]
        yield tuple(row)
    yield (Span("└" + "┴".join("─" * width for width in widths) + "┘"),)
    if _is_cut(device, shown):
        yield (Span(" " + "".join(f"{number:<{unit}}" for number in range(device.kind.memory_slices))),)


def _words(cell: Cell, number: int | None, part: int, width: int) -> str:
    if cell.owner is None or number is None:
        return _cut("free", width).center(width) if part == 0 else "·" * width
    if part == 0:
        return _cut(f"{cell.what}{' kept' if cell.kept and width > 18 else ''}", width).ljust(width)
    return _cut(f"{key_of(number)} {cell.owner}", width).ljust(width)


def _cut(words: str, width: int) -> str:
    return words if len(words) <= width else words[: width - 1] + "…"


def _legend(known: Mapping[str, int], sums: Mapping[str, str]) -> Iterator[tuple[Span, ...]]:
    width = min(max(map(len, known), default=0), 40)
    for owner, number in known.items():
        yield (Span(_cut(f"{key_of(number):<3}{_cut(owner, width):<{width}}  {sums[owner]}", 80), number),)


def _sums(devices: Sequence[Device], entries: Sequence[Entry], left: Sequence[Slice]) -> dict[str, str]:
    """What every owner has, in words: ``2 x 1g.10gb on GPU-0``."""
    had: dict[str, Counter[tuple[str, str]]] = {}
    for device in devices:
        for cell in cells(device, entries, left):
            if cell.owner is not None:
                had.setdefault(cell.owner, Counter())[(cell.what, device.id)] += 1
    return {
        owner: ", ".join(
            f"the whole of {device}" if what == "whole" else f"{count} x {what} on {device}"
            for (what, device), count in counts.items()
        )
        for owner, counts in had.items()
    }


# The picture: sizes in its own units, which are pixels where nothing scales it.
_WIDTH, _PAD, _BAR, _ROW = 880, 20, 64, 128
_LEGEND_ROW, _LETTER = 24, 7.6
_KEPT = "outlined: there already, and stays"
#: Eight hues that stay apart; the next eight owners get them again under stripes, and all have their sign.
_STYLE = """
text { font: 13px ui-sans-serif, system-ui, sans-serif; fill: #1c2530; }
.paper { fill: #ffffff; } .small { font-size: 11px; fill: #53606e; } .head { font-weight: 600; }
.free { fill: #f2f4f7; stroke: #9aa6b2; stroke-dasharray: 3 3; } .cell { stroke: #ffffff; stroke-width: 2; }
.kept { stroke: #1c2530; } .on { fill: #10161d; } .stripes { stroke: #10161d; stroke-opacity: .22; stroke-width: 3; }
.o0 { fill: #8ec5f5; } .o1 { fill: #f6c56b; } .o2 { fill: #7fd6b4; } .o3 { fill: #f3a6c0; }
.o4 { fill: #c3b1f2; } .o5 { fill: #f2e37a; } .o6 { fill: #f0a487; } .o7 { fill: #a9d977; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6ebf1; } .paper { fill: #12171d; } .small { fill: #9dabba; }
  .free { fill: #1c232c; stroke: #5c6a79; } .cell { stroke: #12171d; } .kept { stroke: #e6ebf1; }
  .on { fill: #ffffff; } .stripes { stroke: #ffffff; }
  .o0 { fill: #1f6fb5; } .o1 { fill: #94640a; } .o2 { fill: #14775a; } .o3 { fill: #a83a68; }
  .o4 { fill: #6a4fc0; } .o5 { fill: #736a10; } .o6 { fill: #a6492a; } .o7 { fill: #4a7a1d; }
}
"""
_COLOURS = 8


def svg(
    devices: Sequence[Device],
    entries: Sequence[Entry],
    placement: Placement,
    *,
    title: str,
) -> str:
    """The drawing as one self-contained SVG file that follows the reader's light or dark setting."""
    left = placement.left
    known, sums = owners(devices, entries, left), _sums(devices, entries, left)
    top = _PAD + 36
    legend = top + _ROW * len(devices)
    height = legend + _LEGEND_ROW * (len(known) + 1) + _PAD
    root = ET.Element(
        "svg",
        {
            "xmlns": "http://www.w3.org/2000/svg", "viewBox": f"0 0 {_WIDTH} {height}", "width": str(_WIDTH),
            "height": str(height), "role": "img", "aria-labelledby": "title desc",
        },
    )  # fmt: skip
    _add(root, "title", title, id="title")
    told = "; ".join(f"{owner} has {what}" for owner, what in sums.items())
    _add(root, "desc", told or "Nobody has a device.", id="desc")
    _add(root, "style", _STYLE)
    stripes = _add(_add(root, "defs"), "pattern", id="stripes", width=8, height=8,
                   patternUnits="userSpaceOnUse", patternTransform="rotate(45)")  # fmt: skip
    _add(stripes, "path", class_="stripes", d="M0 0V8")
    _add(root, "rect", class_="paper", width=_WIDTH, height=height)
    _add(root, "text", title, class_="head", x=_PAD, y=_PAD + 14)
    for number, device in enumerate(devices):
        _device(root, device, cells(device, entries, left), known, placement.remains, top + _ROW * number)
    for owner, number in known.items():
        y = legend + _LEGEND_ROW * number
        _block(root, number, "", x=_PAD, y=y, width=20, height=17, rx=3)
        _add(root, "text", key_of(number), class_="on", x=_PAD + 10, y=y + 13, text_anchor="middle")
        _add(root, "text", _cut(f"{owner}: {sums[owner]}", 105), x=_PAD + 30, y=y + 13)
    if any(cell.kept for device in devices for cell in cells(device, entries, left)):
        _add(root, "text", _KEPT, class_="small", x=_PAD, y=legend + _LEGEND_ROW * len(known) + 13)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode") + "\n"


def _block(parent: ET.Element, number: int, more: str, **box: float) -> None:
    """A rectangle in its owner's colour, striped for every second eight owners."""
    _add(parent, "rect", class_=f"cell o{number % _COLOURS}{more}", **box)
    if number // _COLOURS % 2:
        _add(parent, "rect", fill="url(#stripes)", **box)


def _device(
    root: ET.Element,
    device: Device,
    shown: Sequence[Cell],
    known: Mapping[str, int],
    remains: Mapping[str, str | None],
    top: float,
) -> None:
    _add(root, "text", _heading(device), x=_PAD, y=top + 14)
    total = sum(cell.size for cell in shown)
    unit = (_WIDTH - 2 * _PAD) / total
    for cell in shown:
        _cell(root, cell, known, _PAD + cell.start * unit, top + 24, cell.size * unit)
    if _is_cut(device, shown):
        for place in range(total):
            _add(root, "text", str(place), class_="small", x=_PAD + place * unit + 3, y=top + 24 + _BAR + 13)
        at = {"x": _WIDTH - _PAD, "y": top + 14}
        _add(root, "text", _room(device, shown, remains), class_="small", text_anchor="end", **at)


def _cell(root: ET.Element, cell: Cell, known: Mapping[str, int], x: float, y: float, width: float) -> None:
    box = {"x": x + 1, "y": y, "width": width - 2, "height": _BAR, "rx": 5}
    group = _add(root, "g")
    if cell.owner is None:
        _add(group, "title", f"free, memory slice {cell.start}")
        _add(group, "rect", class_="free", **box)
        _add(group, "text", "free", class_="small", x=x + width / 2, y=y + _BAR / 2 + 4, text_anchor="middle")
        return
    number = known[cell.owner]
    _add(group, "title", f"{cell.what} for {cell.owner}, {cell.size} memory slices from {cell.start}")
    _block(group, number, " kept" if cell.kept else "", **box)
    letters = int((width - 16) / _LETTER)
    for line, words in enumerate((cell.what, f"{key_of(number)} {cell.owner}")):
        _add(group, "text", _cut(words, letters), class_="on", x=x + 9, y=y + 26 + 20 * line)


def _add(parent: ET.Element, tag: str, words: str | None = None, /, **attributes: str | float) -> ET.Element:
    """A child; ``class_`` and ``text_anchor`` become ``class`` and ``text-anchor``."""
    facts = {
        key.rstrip("_").replace("_", "-"): f"{value:g}" if isinstance(value, int | float) else value
        for key, value in attributes.items()
    }
    child = ET.SubElement(parent, tag, facts)
    child.text = words
    return child
