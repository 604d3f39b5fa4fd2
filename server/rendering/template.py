"""One Liquid text: parsed once, rendered many times."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from io import StringIO

from liquid.ast import Node
from liquid.exceptions import LiquidError, LiquidInterrupt

from server.rendering.context import Context
from server.rendering.expressions import adopt
from server.rendering.gaps import gaps_of
from server.rendering.limits import MAX_TEXT, Meter, PartsMeter, check_length
from server.rendering.parsing import Environment, parse
from server.rendering.problems import UnusableTextError, explained


class Template:
    """Raises UnusableTextError when the text does not parse, or depends on nothing and can't be rendered.

    ``variables`` are the names of what it reads, ``needed`` those that it sets nowhere itself; ``constant`` is its
    rendered text if nothing in it can vary. ``parts`` pays for parsing, ``meter`` for rendering that text.
    """

    __slots__ = ("_bound", "_gaps", "_nodes", "constant", "needed", "variables")

    def __init__(self, environment: Environment, source: str, parts: PartsMeter, meter: Meter) -> None:
        try:
            parsed = parse(environment, source, parts)
            self.variables = parsed.variables
            self.needed = parsed.needed
            self._bound = parsed.bound
            self._nodes = adopt(parsed.bound.nodes, Context(parsed.bound, {}, Meter()))
            self._gaps = gaps_of(self._nodes)
            self.constant = None if parsed.variables or parsed.is_volatile else self.render({}, meter)
        except UnusableTextError:
            raise
        except Exception as error:  # of parsing, of a tree too deep to walk, or of rendering once for all
            raise UnusableTextError(explained(error)) from error

    def render(self, variables: Mapping[str, object], meter: Meter) -> str:
        """The text for these variables. Raises LiquidError and, python-liquid being what it is, anything else."""
        shown = None if self._gaps is None else self._gaps.filled(variables, meter)
        return self.interpreted(variables, meter) if shown is None else _encodable(shown)

    def interpreted(self, variables: Mapping[str, object], meter: Meter) -> str:
        """The same as ``render``, without the short cut."""
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


def _encodable(shown: str) -> str:
    """The text, if it has a UTF-8 form that is not too long. Half an emoji has none."""
    if not shown.isascii() or len(shown) > MAX_TEXT:
        check_length(len(shown.encode()))
    return shown
