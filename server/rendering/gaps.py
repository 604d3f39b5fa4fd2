"""The short cut for texts that only show variables: fixed text with gaps, and no tree to walk.

It knows plain values. Lists, objects and what comes near a limit are the interpreter's, and so is every error, so that
nobody can tell by the outcome which of the two has rendered a text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from liquid.ast import Node
from liquid.builtin.content import ContentNode
from liquid.builtin.expressions import FilteredExpression, Path

from server.rendering.expressions import Toll
from server.rendering.limits import CHARACTERS_PER_STEP, MAX_TEXT, Meter
from server.rendering.tags import OutputNode
from server.rendering.values import property_of, text

_SCALARS = frozenset({bool, int, float, type(None)})
_NOT_PLAIN = object()


class _Gap(NamedTuple):
    """Where a variable is shown, and its path: a name and keys."""

    place: int
    name: str
    keys: Sequence[object]


class Gaps:
    """Fixed pieces of text, and the variables to show between them."""

    __slots__ = ("_gaps", "_pieces", "_toll")

    def __init__(self, pieces: Sequence[str], gaps: Sequence[_Gap], toll: int) -> None:
        self._pieces = list(pieces)
        self._gaps = tuple(gaps)
        self._toll = toll

    def filled(self, variables: Mapping[str, object], meter: Meter) -> str | None:
        """The text, paid for as the interpreter would; None, and nothing paid, if it is for the interpreter."""
        pieces, steps = self._pieces.copy(), self._toll
        for place, name, keys in self._gaps:
            value = variables.get(name)
            if keys:
                value = _reached(value, keys)
            if type(value) is str:
                steps += len(value) // CHARACTERS_PER_STEP
                pieces[place] = value
            elif type(value) in _SCALARS:
                pieces[place] = text(value)
            else:
                return None
        if steps > meter.left:  # before it is joined, because one long value can be shown a thousand times
            return None
        shown = "".join(pieces)
        if len(shown) > MAX_TEXT:
            return None
        meter.spend(steps)
        return shown


def gaps_of(nodes: Sequence[Node]) -> Gaps | None:
    """An adopted template as gaps; None where it has more than variables to show."""
    if not nodes or not isinstance(nodes[0], Toll):
        return None
    pieces: list[str] = []
    gaps: list[_Gap] = []
    for place, node in enumerate(nodes[1:]):
        if isinstance(node, ContentNode):
            pieces.append(node.text)
        elif path := _path_shown(node):
            name, *keys = path
            pieces.append("")
            gaps.append(_Gap(place, str(name), keys))
        else:
            return None
    return Gaps(pieces, gaps, nodes[0].steps)


def _path_shown(node: Node) -> Sequence[object]:
    """The path of the variable that a node shows; empty if it does anything else."""
    shown = node.expression if isinstance(node, OutputNode) else None
    if isinstance(shown, FilteredExpression) and not shown.filters and isinstance(shown.left, Path):
        return () if any(isinstance(key, Path) for key in shown.left.path) else shown.left.path
    return ()


def _reached(value: object, keys: Sequence[object]) -> object:
    """The value under the keys, None if there is none. What a text has under a key costs, so it is not plain."""
    try:
        for key in keys:
            if isinstance(value, str):
                return _NOT_PLAIN
            value = property_of(value, key)
    except KeyError:
        return None
    return value
