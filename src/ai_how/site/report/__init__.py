"""The demo's report: facts in, one self-contained HTML file and a terminal timeline out. Pure.

The terminal part is imported by itself (``ai_how.site.report.terminal``), because it needs rich.
"""

from ai_how.site.report.model import (
    Answer,
    DemoFacts,
    Device,
    FinetuneFacts,
    HostFacts,
    JobFacts,
    ModelFacts,
    Node,
    Part,
    Partition,
    Phase,
    Point,
    Score,
    Service,
    SiteFacts,
    TrainFacts,
    Version,
)
from ai_how.site.report.render import html

__all__ = [
    "Answer",
    "DemoFacts",
    "Device",
    "FinetuneFacts",
    "HostFacts",
    "JobFacts",
    "ModelFacts",
    "Node",
    "Part",
    "Partition",
    "Phase",
    "Point",
    "Score",
    "Service",
    "SiteFacts",
    "TrainFacts",
    "Version",
    "html",
]
