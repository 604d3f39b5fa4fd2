"""One Liquid text: parsed once, rendered many times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from io import StringIO

from liquid.ast import Node
from liquid.builtin.content import ContentNode
from liquid.builtin.expressions import FilteredExpression, Path
from liquid.exceptions import LiquidError, LiquidInterrupt

from server.rendering.context import Context
from server.rendering.expressions import adopt
from server.rendering.limits import Meter, check_length
from server.rendering.parsing import Environment, parse
from server.rendering.problems import UnusableTextError, explained
from server.rendering.tags import OutputNode
from server.rendering.values import property_of, text

Part = str | Sequence[object]
"""A piece of fixed text, or (as a list) the path of a variable."""


class Template:
    """Raises UnusableTextError when the text does not parse, or depends on nothing and can't be rendered.

    ``variables`` are the names of what it reads; ``constant`` is its rendered text if nothing in it can vary.
    """

    __slots__ = ("_bound", "_nodes", "_parts", "constant", "variables")

    def __init__(self, environment: Environment, source: str) -> None:
        try:
            parsed = parse(environment, source)
            self.variables = parsed.variables
            self._bound = parsed.bound
            self._parts = _parts(parsed.bound.nodes)
            self._nodes = adopt(parsed.bound.nodes, Context(parsed.bound, {}, Meter()))
            self.constant = None if parsed.variables or parsed.is_volatile else self.render({}, Meter())
        except UnusableTextError:
            raise
        except Exception as error:  # of parsing, of a tree too deep to walk, or of rendering once for all
            raise UnusableTextError(explained(error)) from error

    def render(self, variables: Mapping[str, object], meter: Meter) -> str:
        """The text for these variables. Raises LiquidError and, python-liquid being what it is, anything else."""
        if self._parts is None:
            return self.interpreted(variables, meter)
        return _filled(self._parts, variables, meter)

    def interpreted(self, variables: Mapping[str, object], meter: Meter) -> str:
        """The same as ``render``, without the short cut for texts that only show variables."""
        context = Context(self._bound, variables, meter)
        buffer = context.get_buffer()
        with suppress(LiquidInterrupt):  # a break outside of a loop ends the text, as in LiquidJS
            for node in self._nodes:
                _render(node, context, buffer)
        return _encodable(buffer.getvalue())


def _render(node: Node, context: Context, buffer: StringIO) -> None:
    try:
        node.render(context, buffer)
    except LiquidError as error:
        error.token = error.token or node.token
        raise


def _parts(nodes: list[Node]) -> list[Part] | None:
    """The text as a list of pieces, None where it has more than variables to show."""
    parts = [_part(node) for node in nodes]
    return None if None in parts else [part for part in parts if part is not None]


def _part(node: Node) -> Part | None:
    if isinstance(node, ContentNode):
        return node.text
    shown = node.expression if isinstance(node, OutputNode) else None
    if isinstance(shown, FilteredExpression) and not shown.filters and isinstance(shown.left, Path):
        return None if any(isinstance(key, Path) for key in shown.left.path) else shown.left.path
    return None


def _filled(parts: list[Part], variables: Mapping[str, object], meter: Meter) -> str:
    pieces = [part if isinstance(part, str) else _shown(part, variables, meter) for part in parts]
    return _encodable("".join(pieces))


def _encodable(shown: str) -> str:
    """The text, if it has a UTF-8 form that is not too long. Half an emoji has none."""
    check_length(len(shown.encode()))
    return shown


def _shown(path: Sequence[object], variables: Mapping[str, object], meter: Meter) -> str:
    root, *keys = path
    value = variables.get(str(root))
    try:
        for key in keys:
            value = property_of(value, key)
    except KeyError:
        return ""
    meter.charge(value)
    return text(value)
