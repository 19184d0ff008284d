"""Fit: what memory a model needs, and the smallest device or slice of a cluster that has it."""

from ai_how.serving.fit.control import read_shape
from ai_how.serving.fit.model import Fit, Gres, Need, Shape
from ai_how.serving.fit.plan import choose, gres_memory, need

__all__ = ["Fit", "Gres", "Need", "Shape", "choose", "gres_memory", "need", "read_shape"]
