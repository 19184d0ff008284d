"""Elements of HTML and SVG as text; what is no markup yet is escaped, by construction."""

from __future__ import annotations

from html import escape

_VOID = frozenset({"br", "meta", "link"})
_INLINE = frozenset({"a", "b", "code", "em", "i", "s", "small", "span", "td", "th"})
"""After any other element a new line begins, so that the file can be read and compared."""


class Markup(str):
    """Text that is markup already."""

    __slots__ = ()


def element(name: str, /, *children: str | None, **attributes: str | float | None) -> Markup:
    """An element. ``class_`` and ``aria_label`` become ``class`` and ``aria-label``; None is left out."""
    words = [name]
    for key, value in attributes.items():
        if value is not None:
            words.append(f'{key.rstrip("_").replace("_", "-")}="{escape(_text(value))}"')
    end = "" if name in _INLINE else "\n"
    if name in _VOID:
        return Markup(f"<{' '.join(words)}>{end}")
    return Markup(f"<{' '.join(words)}>{join(*children)}</{name}>{end}")


def join(*children: str | None) -> Markup:
    """Several pieces as one."""
    return Markup(
        "".join(child if isinstance(child, Markup) else escape(child) for child in children if child)
    )


def _text(value: str | float) -> str:
    """A number as short as two decimals allow."""
    if isinstance(value, float):
        return f"{value:.2f}".rstrip("0").rstrip(".")
    return str(value)
