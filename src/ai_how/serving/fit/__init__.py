"""Fit: what memory a model needs, and the smallest device or slice of a cluster that has it."""

from ai_how.serving.fit.control import ollama_blob, read_shape
from ai_how.serving.fit.model import Fit, Gres, Need, Shape
from ai_how.serving.fit.need import need
from ai_how.serving.fit.plan import choose, gres_memory

__all__ = ["Fit", "Gres", "Need", "Shape", "choose", "gres_memory", "need", "ollama_blob", "read_shape"]
