"""LiquidJS's meaning for the expressions and nodes that python-liquid's parser builds, and what they cost.

The parser names the classes of its tree itself, so ``adopt`` gives the finished objects our classes. They add no state,
only behaviour.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, TextIO, cast

from liquid.ast import BlockNode, Node
from liquid.builtin.expressions import BooleanExpression, Filter, FilteredExpression, LoopExpression, Path
from liquid.builtin.expressions.logical import (
    ContainsExpression,
    EqExpression,
    GeExpression,
    GtExpression,
    LeExpression,
    LogicalAndExpression,
    LogicalNotExpression,
    LogicalOrExpression,
    LtExpression,
    NeExpression,
)
from liquid.builtin.tags.case_tag import MultiExpressionBlockNode
from liquid.context import RenderContext
from liquid.expression import Expression
from liquid.token import Token

from server.rendering.filters import STEPS
from server.rendering.filters.texts import count
from server.rendering.values import contains, equals, less, less_or_equal

if TYPE_CHECKING:
    from server.rendering.context import Context

_FILTER_STEPS = 2


def _operands(expression: Any, context: RenderContext) -> tuple[object, object]:
    left, right = expression.left.evaluate(context), expression.right.evaluate(context)
    meter = cast("Context", context).meter
    meter.charge(left)
    meter.charge(right)
    return left, right


class Variable(Path):
    """Its keys may be variables themselves, but rarely are."""

    __slots__ = ()

    def evaluate(self, context: RenderContext) -> object:
        keys: list[object] = list(self.path)
        if len(keys) > 1:
            keys = [key.evaluate(context) if type(key) is Variable else key for key in keys]
        return context.get(keys, token=self.token)


class Equal(EqExpression):
    __slots__ = ()

    def evaluate(self, context: RenderContext) -> object:
        return equals(*_operands(self, context))


class Unequal(NeExpression):
    __slots__ = ()

    def evaluate(self, context: RenderContext) -> object:
        return not equals(*_operands(self, context))


class Less(LtExpression):
    __slots__ = ()

    def evaluate(self, context: RenderContext) -> object:
        return less(*_operands(self, context))


class Greater(GtExpression):
    __slots__ = ()

    def evaluate(self, context: RenderContext) -> object:
        left, right = _operands(self, context)
        return less(right, left)


class LessOrEqual(LeExpression):
    __slots__ = ()

    def evaluate(self, context: RenderContext) -> object:
        return less_or_equal(*_operands(self, context))


class GreaterOrEqual(GeExpression):
    __slots__ = ()

    def evaluate(self, context: RenderContext) -> object:
        left, right = _operands(self, context)
        return less_or_equal(right, left)


class Contains(ContainsExpression):
    __slots__ = ()

    def evaluate(self, context: RenderContext) -> object:
        return contains(*_operands(self, context))


class Loop(LoopExpression):
    """Pays for every item before the loop starts, because ``reversed`` and ``offset`` go through all of them."""

    __slots__ = ()

    def _to_iter(self, obj: object, context: RenderContext) -> tuple[Iterator[Any], int]:
        cast("Context", context).meter.spend(_length(obj))
        return super()._to_iter(obj, context)

    def _to_int(self, obj: object, *, token: Token) -> int:  # noqa: ARG002  # there is no error to place
        return max(count(obj, 0), 0)


def _length(value: object) -> int:
    if isinstance(value, range):
        return value.stop - value.start  # len() overflows
    return len(value) if isinstance(value, (list, tuple, dict)) else 1


class When(MultiExpressionBlockNode):
    """Shown once, however many of its values match."""

    __slots__ = ()

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        """The characters written, or -1 when no value matches, which is what ``case`` goes by."""
        subject = self.expression.left.evaluate(context)
        for choice in self.expression.expressions:
            value = choice.evaluate(context)
            cast("Context", context).meter.charge(value)
            if equals(subject, value):
                return self.block.render(context, buffer)
        return -1


_OURS: dict[type, type] = {
    Path: Variable,
    EqExpression: Equal,
    NeExpression: Unequal,
    LtExpression: Less,
    GtExpression: Greater,
    LeExpression: LessOrEqual,
    GeExpression: GreaterOrEqual,
    ContainsExpression: Contains,
    LoopExpression: Loop,
    MultiExpressionBlockNode: When,
}


class Toll(Node):
    """Stands first in every block and pays for one passage through it, a cost known since the template was parsed."""

    __slots__ = ("steps",)

    def __init__(self, token: Token, steps: int) -> None:
        super().__init__(token)
        self.steps = steps

    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:  # noqa: ARG002  # a node's signature
        """Writes nothing. Raises ResourceLimitError when the render has cost too much."""
        cast("Context", context).meter.spend(self.steps)
        return 0


def adopt(nodes: list[Node], context: RenderContext) -> list[Node]:
    """The nodes of a parsed template with LiquidJS's meaning, and a toll at the head of every block."""
    steps = sum(_adopt_node(node, context) for node in nodes)
    return [Toll(nodes[0].token, steps), *nodes] if nodes else []


def _adopt_node(node: Node, context: RenderContext) -> int:
    """Adopts a node with all that is under it; answers its steps, without those of the blocks it may enter."""
    node.__class__ = _OURS.get(type(node), type(node))
    steps = 1 + sum(map(_adopt_expression, node.expressions()))
    for child in node.children(context):
        if isinstance(child, BlockNode):
            child.nodes = adopt(child.nodes, context)
        else:
            steps += _adopt_node(child, context)
    return steps


def _adopt_expression(expression: Expression) -> int:
    expression.__class__ = _OURS.get(type(expression), type(expression))
    if isinstance(expression, BooleanExpression):
        expression.expression = _bound_tightly(expression.expression)
    named = sum(STEPS.get(used.name, _FILTER_STEPS) for used in filters_of(expression))
    return 1 + named + sum(map(_adopt_expression, expression.children()))


def _bound_tightly(expression: Expression) -> Expression:
    """``not a and b`` as LiquidJS reads it, (not a) and b; python-liquid's ``not`` takes all that follows it."""
    if isinstance(expression, LogicalNotExpression):
        inner = expression.right = _bound_tightly(expression.right)
        if isinstance(inner, LogicalAndExpression | LogicalOrExpression):
            expression.right, inner.left = inner.left, expression
            return inner
    elif isinstance(expression, LogicalAndExpression | LogicalOrExpression):
        expression.right = _bound_tightly(expression.right)
    return expression


def filters_of(expression: Expression) -> Iterable[Filter]:
    """The filters of one expression, not of those inside of it."""
    return expression.filters or () if isinstance(expression, FilteredExpression) else ()
