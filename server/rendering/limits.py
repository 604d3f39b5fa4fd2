"""What a template may cost. Every step of a render is paid from one meter, so no construct needs its own limit."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from liquid.exceptions import ResourceLimitError
from liquid.token import Token

MAX_SOURCE_BYTES = 16 * 1024
MAX_CONTENT_SOURCE_BYTES = 64 * 1024
MAX_TEXT = 64 * 1024
"""Of any one text: code points while it is built, UTF-8 bytes when it is written."""

MAX_STEPS = 20_000
"""For one recipient, all fields together. A step takes about a microsecond at most: nobody waits longer than 20 ms."""

MAX_PARTS = 1_500
"""Of all fields of a content: texts, tags, names, values, signs. To parse one takes about ten microseconds."""

CHARACTERS_PER_STEP = 16


class Meter:
    """The work that is left for one render. A step is one node, expression, list item or sixteen characters of text."""

    __slots__ = ("left",)
    refusal = "the template does too much work"

    def __init__(self, steps: int = MAX_STEPS) -> None:
        self.left = steps

    def spend(self, steps: int) -> None:
        """Pay before working. Raises ResourceLimitError when the render has cost too much."""
        self.left -= steps
        if self.left < 0:
            raise ResourceLimitError(self.refusal, token=None)

    def charge(self, value: object) -> None:
        """Pay for going through all of a value once.

        Lists made in a template can hold each other many times over, so going through them is exponential: this ends
        with the meter, and what it has passed is small enough to go through again.
        """
        if isinstance(value, str):
            if len(value) >= CHARACTERS_PER_STEP:
                self.spend(check_length(len(value)) // CHARACTERS_PER_STEP)
        elif isinstance(value, range):
            self.spend(value.stop - value.start)  # len() overflows
        elif isinstance(value, (list, tuple)):
            self._charge_all(value)
        elif isinstance(value, dict):
            self._charge_all(tuple(value.values()))

    def _charge_all(self, values: list[object] | tuple[object, ...]) -> None:
        self.spend(len(values))
        for value in values:
            self.charge(value)


class PartsMeter(Meter):
    """The parts that may still be parsed of one content."""

    __slots__ = ()
    refusal = f"the templates have more than {MAX_PARTS:,} parts all together"

    def __init__(self, parts: int = MAX_PARTS) -> None:
        super().__init__(parts)

    def taken(self, tokens: Iterator[Token]) -> list[Token]:
        """The tokens, paid for. Raises ResourceLimitError when they are too many, without looking at all of them."""
        found = list(islice(tokens, max(self.left, 0) + 1))
        self.spend(len(found))
        return found


def check_length(characters: int, most: int = MAX_TEXT) -> int:
    """The same number; raises ResourceLimitError when a text of that length may not be built."""
    if characters > most:
        raise ResourceLimitError(f"a text of more than {MAX_TEXT // 1024} KiB", token=None)
    return characters
