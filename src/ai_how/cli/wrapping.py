"""Text that comes in pieces, broken between words for a terminal as it comes. Pure."""

from __future__ import annotations

from rich.cells import cell_len

#: What moves the cursor so many columns back, and what clears the rest of the line (ECMA-48).
_BACK, _CLEAR = "\x1b[{}D", "\x1b[K"
_TAB = 8


class Wrapped:
    """Gives for each piece what to print. A word that turns out not to fit is taken back and begins the next line.

    The last column stays empty: terminals differ in where the cursor is after it. Control characters are left out: an
    answer must not be able to steer the terminal. A word of more than half a line is broken where the line ends.
    """

    def __init__(self, width: int) -> None:
        self._width = max(width - 1, 2)
        self._column = 0
        self._word = ""

    def feed(self, piece: str) -> str:
        return "".join(map(self._one, piece))

    def _one(self, letter: str) -> str:
        if letter == "\n":
            self._column, self._word = 0, ""
            return letter
        if letter == "\t":
            letter = " " * (_TAB - self._column % _TAB)
        elif not letter.isprintable() and letter != "\u200d":  # it joins emoji
            return ""
        before = self._broken(letter) if self._column + cell_len(letter) > self._width else ""
        if before and letter.isspace():  # the blank between two lines
            self._column, self._word = 0, ""
            return "\n"
        self._column += cell_len(letter)
        self._word = "" if letter.isspace() else self._word + letter
        return before + letter

    def _broken(self, letter: str) -> str:
        cells = cell_len(self._word)
        if not cells or letter.isspace() or cells > self._width // 2:
            self._column, self._word = 0, ""
            return "\n"
        self._column = cells
        return f"{_BACK.format(cells)}{_CLEAR}\n{self._word}"
