"""The site as a picture: the nodes with their devices, the services, and the gateway between. Pure.

It is drawn twice, wide and narrow; the style sheet shows the one that fits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ai_how.draw.markup import Markup, element, join
from ai_how.draw.words import count, node_list
from ai_how.site.report.model import Device, JobFacts, Node, Service, SiteFacts

_SHOWN_NODES = 8
_NODE, _SERVICE, _GAP, _HEAD, _PAD = 92, 46, 12, 46, 16
_TALLEST_SERVICE = 96
_LETTER, _STRONG_LETTER = 6.9, 8.8
"""About how wide a letter of the small type and of the strong one is."""


@dataclass(frozen=True)
class Box:
    """A rectangle, in the units of the picture."""

    x: float
    y: float
    width: float
    height: float

    @property
    def middle(self) -> float:
        return self.x + self.width / 2


@dataclass(frozen=True)
class Layout:
    """Where the two sides and the gateway stand, and how many columns of cards each side has."""

    width: float
    height: float
    hpc: Box
    cloud: Box
    gateway: Box
    node_columns: int
    service_columns: int

    @property
    def is_wide(self) -> bool:
        return self.gateway.y < self.hpc.height


def topology(site: SiteFacts, jobs: Sequence[JobFacts]) -> Markup:
    """The picture for wide pages and the one for narrow ones."""
    label = (
        f"The site {site.name}: {count(len(site.nodes), 'node')} under Slurm, "
        f"{count(len(_of(site, 'cloud')), 'cloud service')}, and the gateway between them"
    )
    return join(
        _picture(site, jobs, wide(site), label, "topology wide"),
        _picture(site, jobs, narrow(site), label, "topology narrow"),
    )


def wide(site: SiteFacts) -> Layout:
    """The two sides beside each other, the gateway in the middle."""
    columns = 2 if len(site.nodes) <= 4 else 4
    height = max(_hpc_height(site, columns), _cloud_height(site, 1))
    hpc, cloud = Box(0, 0, 600, height), Box(812, 0, 228, height)
    return Layout(1040, height, hpc, cloud, Box(642, height / 2 - 66, 128, 92), columns, 1)


def narrow(site: SiteFacts) -> Layout:
    """One below the other."""
    tall, short = _hpc_height(site, 2), _cloud_height(site, 2)
    hpc, gateway = Box(0, 0, 320, tall), Box(104, tall + 34, 216, 64)
    return Layout(320, tall + 132 + short, hpc, Box(0, tall + 132, 320, short), gateway, 2, 2)


def _hpc_height(site: SiteFacts, columns: int) -> float:
    rows = -(-min(len(site.nodes), _SHOWN_NODES) // columns)
    more = 24 if len(site.nodes) > _SHOWN_NODES else 0
    daemons = 26 if _of(site, "hpc") else 0
    return _HEAD + rows * (_NODE + _GAP) + more + len(site.partitions) * 22 + daemons + _PAD - 2


def _cloud_height(site: SiteFacts, columns: int) -> float:
    rows = -(-len(_of(site, "cloud")) // columns)
    return _HEAD + rows * (_SERVICE + _GAP) - _GAP + _PAD


def _of(site: SiteFacts, cluster: str) -> tuple[Service, ...]:
    return tuple(
        service for service in site.services if service.cluster == cluster and service.name != "gateway"
    )


def _picture(site: SiteFacts, jobs: Sequence[JobFacts], at: Layout, label: str, class_: str) -> Markup:
    return element(
        "svg",
        _ways(at),
        _hpc(site, jobs, at),
        _cloud(site, at),
        _gateway(site, at.gateway),
        class_=class_,
        viewBox=f"-1 -1 {at.width + 2:g} {at.height + 2:g}",
        role="img",
        aria_label=label,
    )


def _ways(at: Layout) -> Markup:
    """What goes between: questions through the gateway to the replica on a node; runs and models to the services."""
    left, right, door = at.hpc, at.cloud, at.gateway
    middle, y = door.middle, door.y + door.height / 2
    if not at.is_wide:
        return join(
            _way(f"M{middle:g} {left.height:g}V{door.y:g}", "way asked"),
            _way(f"M36 {left.height:g}V{right.y:g}"),
            element("text", "runs,", x=46, y=y - 4, class_="small"),
            element("text", "models", x=46, y=y + 12, class_="small"),
        )
    low = at.height - 30
    return join(
        _way(f"M{left.width:g} {y:g}H{door.x:g}", "way asked"),
        _way(f"M{middle:g} {door.y - 26:g}V{door.y:g}", "way asked"),
        element("text", "openai client", x=middle, y=door.y - 36, class_="small", text_anchor="middle"),
        _way(f"M{left.width:g} {low:g}H{right.x:g}"),
        element("text", "runs, metrics, models", x=middle, y=low - 12, class_="small", text_anchor="middle"),
    )


def _way(path: str, class_: str = "way") -> Markup:
    return element("path", d=path, class_=class_)


def _hpc(site: SiteFacts, jobs: Sequence[JobFacts], at: Layout) -> Markup:
    box, columns = at.hpc, at.node_columns
    width = (box.width - 2 * _PAD - (columns - 1) * _GAP) / columns
    shown = site.nodes[:_SHOWN_NODES]
    cards = [
        _node(
            node,
            [job for job in jobs if node.name in job.nodes],
            Box(
                box.x + _PAD + number % columns * (width + _GAP),
                box.y + _HEAD + number // columns * (_NODE + _GAP),
                width,
                _NODE,
            ),
        )
        for number, node in enumerate(shown)
    ]
    y = box.y + _HEAD + -(-len(shown) // columns) * (_NODE + _GAP) + 14
    lines = []
    if len(site.nodes) > len(shown):
        lines.append(f"and {count(len(site.nodes) - len(shown), 'node')} more, up to {site.nodes[-1].name}")
    for partition in site.partitions:
        star = " (default)" if partition.default else ""
        limit = f" · {partition.time_limit}" if partition.time_limit else ""
        lines.append(f"{partition.name}{star} · {node_list(partition.nodes)}{limit}")
    daemons = ", ".join(service.name for service in _of(site, "hpc"))
    if daemons:
        lines.append(daemons)
    texts = [
        _text(line, box.x + _PAD, y + 22 * number, box.width - 2 * _PAD, "small")
        for number, line in enumerate(lines)
    ]
    devices = f", {_named(site.devices)}" if site.devices else ""
    return join(_frame(box, "hpc", f"Slurm, {count(len(site.nodes), 'node')}{devices}"), *cards, *texts)


def _frame(box: Box, name: str, what: str) -> Markup:
    return join(
        _rect(box, "frame", 14),
        element("text", name, x=box.x + _PAD, y=box.y + 28, class_="name"),
        element("text", what, x=box.x + box.width - _PAD, y=box.y + 28, class_="small", text_anchor="end"),
    )


def _node(node: Node, jobs: Sequence[JobFacts], box: Box) -> Markup:
    """A node: its name, a dot for each part that ran on it, its CPUs and memory, its devices as squares."""
    parts = list(dict.fromkeys(job.part for job in jobs))
    dots = [
        element(
            "circle", element("title", f"{node.name}: {', '.join(job.name for job in jobs if job.part == part)}"),
            cx=box.x + box.width - 18 - 16 * number, cy=box.y + 20, r=5, class_=f"fill {part}",
        )
        for number, part in enumerate(reversed(parts))
    ]  # fmt: skip
    size = f"{count(node.cpus, 'CPU')} · {node.memory_gb:g}\u202fGB"
    return element(
        "g",
        _rect(box, "card", 9),
        _text(node.name, box.x + 14, box.y + 25, box.width - 60, "strong"),
        _text(size, box.x + 14, box.y + 45, box.width - 18, "small"),
        *dots,
        _slots(node.devices, box),
    )


def _slots(devices: Sequence[Device], box: Box) -> Markup:
    """A square a device, smaller when they are many; what they are beside them where there is room."""
    slots = [device for device in devices for _ in range(device.count)]
    side, gap = (18, 5) if len(slots) <= 4 else (10, 3)
    fitting = int((box.width - 24) // (side + gap))
    y = box.y + 67 - side / 2
    squares = [
        _rect(
            Box(box.x + 14 + number * (side + gap), y, side, side),
            "slot simulated" if device.simulated else "slot",
            side / 4.5,
        )
        for number, device in enumerate(slots[:fitting])
    ]
    x = box.x + 14 + len(squares) * (side + gap) + (4 if slots else 0)
    named = _named(devices) or "no devices"
    if x + len(named) * _LETTER > box.x + box.width:
        return join(element("g", element("title", named), *squares))
    return join(*squares, element("text", named, x=x, y=box.y + 71.5, class_="small"))


def _named(devices: Sequence[Device]) -> str:
    return ", ".join(f"{device.count} × {device.model}" for device in devices)


def _cloud(site: SiteFacts, at: Layout) -> Markup:
    box, columns, services = at.cloud, at.service_columns, _of(site, "cloud")
    width = (box.width - 2 * _PAD - (columns - 1) * _GAP) / columns
    rows = -(-len(services) // columns) or 1
    height = min((box.height - _HEAD - _PAD + _GAP) / rows - _GAP, _TALLEST_SERVICE)
    cards = []
    for number, service in enumerate(services):
        x = box.x + _PAD + number % columns * (width + _GAP)
        y = box.y + _HEAD + number // columns * (height + _GAP)
        line = y + height / 2
        cards.append(
            element(
                "g",
                _rect(Box(x, y, width, height), "card", 9),
                _text(service.name, x + 14, line - 3, width - 20, "strong"),
                _text(service.version, x + 14, line + 14, width - 20, "small"),
            )
        )
    return join(_frame(box, "cloud", count(len(services), "service")), *cards)


def _gateway(site: SiteFacts, box: Box) -> Markup:
    gateway = next((service for service in site.services if service.name == "gateway"), None)
    port = f"port {gateway.port}" if gateway and gateway.port else "/v1"
    top = box.y + box.height / 2
    return element(
        "g",
        _rect(box, "door", 14),
        element("text", "gateway", x=box.middle, y=top - 4, class_="strong", text_anchor="middle"),
        element("text", f"OpenAI API, {port}" if box.width > 150 else "OpenAI API", x=box.middle, y=top + 15,
                class_="small", text_anchor="middle"),
        element("text", port, x=box.middle, y=top + 32, class_="small", text_anchor="middle")
        if box.width <= 150 else "",
    )  # fmt: skip


def _rect(box: Box, class_: str, rx: float) -> Markup:
    return element("rect", x=box.x, y=box.y, width=box.width, height=box.height, rx=rx, class_=class_)


def _text(words: str, x: float, y: float, room: float, class_: str) -> Markup:
    """Text cut to the room there is; all of it as the title."""
    most = max(int(room / (_STRONG_LETTER if class_ == "strong" else _LETTER)), 3)
    if len(words) <= most:
        return element("text", words, x=x, y=y, class_=class_)
    return element("text", element("title", words), words[: most - 1] + "…", x=x, y=y, class_=class_)
