"""Docstrings for the reference: the roles of reStructuredText that the code uses, as Markdown reads them."""

from __future__ import annotations

import re

from griffe import Extension, Object

_ROLE = re.compile(r":(?:class|meth|func|mod|attr):`~?([^`]+)`")


class Roles(Extension):
    """``:class:`X``` becomes plain code; what stands in double backticks is code in Markdown, too."""

    def on_instance(self, *, obj: Object, **kwargs: object) -> None:
        if obj.docstring:
            obj.docstring.value = _ROLE.sub(r"`\1`", obj.docstring.value)
