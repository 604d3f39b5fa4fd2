"""The short cut for texts that only show variables, filtered or not: fixed text with gaps, and no tree to walk.

It knows plain values. Lists, objects and what comes near a limit are the interpreter's, and so is every error, so that
nobody can tell by the outcome which of the two has rendered a text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from liquid.ast import Node
from liquid.builtin.content import ContentNode
from liquid.builtin.expressions import Filter, FilteredExpression, Path, PositionalArgument
from liquid.builtin.expressions.primitive import Literal
from liquid.undefined import Undefined

from server.rendering.expressions import Toll, filters_of
from server.rendering.filters import FILTERS, WEIGHTS
from server.rendering.limits import CHARACTERS_PER_STEP, MAX_TEXT, Meter
from server.rendering.tags import OutputNode
from server.rendering.values import MISSING, property_of, text

_SCALARS = frozenset({bool, int, float, type(None), Undefined})
_PLAIN = _SCALARS | {str}
_NOT_PLAIN = object()


class _Call(NamedTuple):
    """A filter with its further arguments, which are the same every time, and what it costs to go through those."""

    function: Callable[..., object]
    arguments: Sequence[object]
    steps: int
    weight: int


class _Gap(NamedTuple):
    """Where a variable is shown, its path (a name and keys), and the filters between."""

    place: int
    name: str
    keys: Sequence[object]
    calls: Sequence[_Call]


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
        for place, name, keys, calls in self._gaps:
            value = variables.get(name, MISSING)
            if keys:
                value = _reached(value, keys)
            if calls:
                value, paid = _called(value, calls, meter.left - steps)
                steps += paid
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
        elif gap := _gap(place, node):
            pieces.append("")
            gaps.append(gap)
        else:
            return None
    return Gaps(pieces, gaps, nodes[0].steps)


def _gap(place: int, node: Node) -> _Gap | None:
    """The node as a gap, if all it does is to show a variable, through filters with fixed arguments."""
    shown = node.expression if isinstance(node, OutputNode) else None
    if not isinstance(shown, FilteredExpression) or not isinstance(shown.left, Path):
        return None
    name, *keys = shown.left.path
    calls = [_call(used) for used in filters_of(shown)]
    if None in calls or any(isinstance(key, Path) for key in keys):
        return None
    return _Gap(place, str(name), keys, [call for call in calls if call])


def _call(used: Filter) -> _Call | None:
    values = [argument.value if isinstance(argument, PositionalArgument) else None for argument in used.args]
    fixed = [value.value for value in values if isinstance(value, Literal)]
    if len(fixed) < len(values):
        return None
    steps = sum(len(value) // CHARACTERS_PER_STEP for value in fixed if isinstance(value, str))
    weight = WEIGHTS.get(used.name, 1)
    return _Call(FILTERS[used.name], fixed, steps * weight, weight)


def _called(value: object, calls: Sequence[_Call], left: int) -> tuple[object, int]:
    """What comes out of the filters, and its cost; not a plain value where more than ``left`` or an error would."""
    paid = 0
    for function, arguments, steps, weight in calls:
        paid += steps + (len(value) // CHARACTERS_PER_STEP * weight if isinstance(value, str) else 0)
        if type(value) not in _PLAIN or paid > left:
            return _NOT_PLAIN, paid
        try:
            value = function(value, *arguments)
        except Exception:  # noqa: BLE001  # whatever it is, the interpreter meets it as well and says what it is
            return _NOT_PLAIN, paid
    return value, paid


def _reached(value: object, keys: Sequence[object]) -> object:
    """The value under the keys, MISSING if there is none. What a text has under a key costs, so it is not plain."""
    try:
        for key in keys:
            if isinstance(value, str):
                return _NOT_PLAIN
            value = property_of(value, key)
    except KeyError:
        return MISSING
    return value
