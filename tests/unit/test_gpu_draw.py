"""The drawing of the devices: to scale, nothing lost, and as it was looked at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from sample_gpus import DEVICES, ENTRIES, PLACEMENT, granted, kind, same

from ai_how.gpu import draw
from ai_how.gpu.model import Device, Placement

SVG = "{http://www.w3.org/2000/svg}"


def test_the_text_is_the_golden_one() -> None:
    same("drawing.txt", draw.text(DEVICES, ENTRIES, PLACEMENT))


def test_without_box_characters() -> None:
    drawn = draw.text(DEVICES, ENTRIES, PLACEMENT, ascii_only=True)
    assert drawn.isascii()
    same("drawing-ascii.txt", drawn)


def test_the_picture_is_the_golden_one() -> None:
    same("drawing.svg", draw.svg(DEVICES, ENTRIES, PLACEMENT, title="GPUs of sample & <co>"))


def test_no_line_is_wider_than_80_columns() -> None:
    drawn = draw.text(DEVICES, ENTRIES, PLACEMENT)
    assert max(map(len, drawn.splitlines())) <= 80
    boxes = [line for line in drawn.splitlines() if line.startswith(("┌", "│", "└"))]
    assert {len(line) for line in boxes} == {73}


@pytest.mark.parametrize(
    ("model", "slices", "unit"), [("a30", 4, 18), ("a100", 8, 9), ("rtx-pro-6000", 12, 6)]
)
def test_memory_slices_are_drawn_to_scale(model: str, slices: int, unit: int) -> None:
    device = Device("GPU-0", kind(model))
    for profile in device.kind.profiles:
        for start in profile.starts:
            entry = granted("hpc", "GPU-0", start, profile.name)
            lines = draw.text([device], [entry], Placement(())).splitlines()
            edges = [place for place, sign in enumerate(lines[1]) if sign in "┌┬┐"]
            taken = range(start + 1, start + profile.size)
            assert edges == [unit * place for place in range(slices + 1) if place not in taken]


@pytest.mark.parametrize("slices", [2, 3, 6, 7, 16, 24])
def test_any_number_of_memory_slices_can_be_drawn(slices: int) -> None:
    device = Device("GPU-0", replace(kind("a100"), memory_slices=slices))
    box = draw.text([device], [granted("hpc", "GPU-0", 0, "1g.10gb")], Placement(())).splitlines()[1:5]
    assert len({len(line) for line in box}) == 1 and len(box[0]) <= 80
    assert {line.count(sign) for line, sign in zip(box, "┬││┴", strict=True)} == {slices - 1, slices + 1}


def test_cells_cover_a_device_without_gap_or_overlap() -> None:
    for device in DEVICES:
        place = 0
        for cell in draw.cells(device, ENTRIES, PLACEMENT.left):
            assert cell.start == place
            place += cell.size
        assert place == (device.kind.memory_slices or 1)


def test_what_is_held_and_stays_is_shown_with_its_owner() -> None:
    cells = {cell.start: cell for cell in draw.cells(DEVICES[1], ENTRIES, PLACEMENT.left)}
    assert cells[0].what == "2g.20gb", "what is granted covers what must go for it"
    assert (cells[3].owner, cells[3].kept) == (draw.NOBODY, True)
    assert (cells[4].owner, cells[4].kept) == ("node01", True)
    assert cells[2].owner is None


def test_a_device_nobody_has_is_free() -> None:
    (cell,) = draw.cells(DEVICES[4], ())
    assert (cell.what, cell.owner) == ("free", None)
    assert "free" in draw.text([DEVICES[4]], (), Placement(()))


def test_a_device_that_somebody_has_already_as_a_whole() -> None:
    device = replace(DEVICES[5], whole_for="hpc")
    (cell,) = draw.cells(device, ())
    assert (cell.what, cell.owner) == ("whole", "hpc")


def test_owners_keep_one_sign_over_all_devices() -> None:
    known = draw.owners(DEVICES, ENTRIES, PLACEMENT.left)
    assert list(known.values()) == list(range(len(known)))
    assert [draw.key_of(number) for number in (0, 25, 26, 51, 52)] == ["A", "Z", "a", "z", "53"]


def test_the_spans_of_a_line_say_whose_they_are() -> None:
    known = draw.owners(DEVICES, ENTRIES, PLACEMENT.left)
    lines = draw.lines(DEVICES, ENTRIES, PLACEMENT)
    text = "\n".join("".join(span.text for span in line).rstrip() for line in lines)
    assert text.strip("\n") + "\n" == draw.text(DEVICES, ENTRIES, PLACEMENT)
    assert {span.owner for line in lines for span in line} == {None, *known.values()}


def words(element: ET.Element) -> Iterator[str]:
    return (each.text or "" for each in element.iter(f"{SVG}text"))


def test_the_picture_says_what_it_shows() -> None:
    root = ET.fromstring(draw.svg(DEVICES, ENTRIES, PLACEMENT, title="GPUs of sample & <co>"))
    ids = {each.get("id"): each.text for each in root if each.get("id")}
    assert root.get("role") == "img" and (root.get("aria-labelledby") or "").split() == list(ids)
    assert ids["title"] == "GPUs of sample & <co>"
    for owner in draw.owners(DEVICES, ENTRIES, PLACEMENT.left):
        assert f"{owner} has " in (ids["desc"] or "")
        assert any(line.startswith(f"{owner}: ") for line in words(root))
    assert len(root.findall(f".//{SVG}g")) == sum(
        len(draw.cells(device, ENTRIES, PLACEMENT.left)) for device in DEVICES
    )
    assert "prefers-color-scheme: dark" in (root.findtext(f"{SVG}style") or "")


def test_the_picture_needs_nothing_else() -> None:
    drawn = draw.svg(DEVICES, ENTRIES, PLACEMENT, title="x")
    assert "http" not in drawn.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "url(" not in drawn.replace("url(#stripes)", "")


def test_more_owners_than_hues_are_told_apart() -> None:
    device = Device("GPU-0", kind("a100"))
    devices = [replace(device, id=f"GPU-{n}") for n in range(3)]
    entries = [granted(f"c{n}", f"GPU-{n // 7}", n % 7, "1g.10gb", index=n) for n in range(21)]
    root = ET.fromstring(draw.svg(devices, entries, Placement(()), title="x"))
    rows = [each for each in root if each.tag == f"{SVG}rect" and each.get("rx") == "3"]
    striped = [each for each in rows if each.get("fill") == "url(#stripes)"]
    assert len(rows) - len(striped) == 21 and len(striped) == 8


def test_nothing_to_draw() -> None:
    assert draw.text((), (), Placement(())) == "\n"
    assert (
        ET.fromstring(draw.svg((), (), Placement(()), title="x")).findtext(f"{SVG}desc")
        == "Nobody has a device."
    )
