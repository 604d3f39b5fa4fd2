"""LiquidJS's tags, python-liquid's own where they will do. ``raw`` and comments are the lexer's."""

from __future__ import annotations

from typing import NoReturn, TextIO, cast

from liquid.ast import Node
from liquid.builtin import content, illegal, output
from liquid.builtin.expressions import FilteredExpression
from liquid.builtin.tags import (
    assign_tag,
    capture_tag,
    case_tag,
    cycle_tag,
    decrement_tag,
    echo_tag,
    for_tag,
    if_tag,
    increment_tag,
    liquid_tag,
    tablerow_tag,
    unless_tag,
)
from liquid.context import RenderContext
from liquid.exceptions import LiquidSyntaxError
from liquid.parser import get_parser
from liquid.stream import TokenStream
from liquid.tag import Tag
from liquid.token import TOKEN_EXPRESSION, TOKEN_OUTPUT

from server.rendering.context import Context
from server.rendering.lexer import tag_lines
from server.rendering.stream import Stream

_OTHER_FILES = frozenset({"render", "include", "layout", "block"})
_INNER = frozenset({"else", "elsif", "when"})


class OutputNode(output.OutputNode):
    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        """Writes the value as LiquidJS prints it."""
        return buffer.write(cast("Context", context).text(self.expression.evaluate(context)))


class Output(output.Output):
    node_class = OutputNode

    def parse(self, stream: TokenStream) -> OutputNode:
        """Parses ``{{ ... }}``."""
        token = stream.eat(TOKEN_OUTPUT)
        return self.node_class(token, FilteredExpression.parse(self.env, stream.into_inner(eat=False)))


class EchoNode(echo_tag.EchoNode):
    render_to_output = OutputNode.render_to_output


class Echo(echo_tag.EchoTag):
    node_class = EchoNode


class CycleNode(cycle_tag.CycleNode):
    def render_to_output(self, context: RenderContext, buffer: TextIO) -> int:
        """Writes the next value of its group; without a name, cycles of the same values are one group."""
        shown = cast("Context", context).text
        values = [shown(value.evaluate(context)) for value in self.args]
        group = shown(self.group.evaluate(context)) if self.group else None
        return buffer.write(values[context.cycle((group, tuple(values)), len(values))])


class Cycle(cycle_tag.CycleTag):
    node_class = CycleNode


class Liquid(liquid_tag.LiquidTag):
    def parse(self, stream: TokenStream) -> Node:
        """Parses the lines of ``{% liquid %}``, each as a tag."""
        token = stream.current
        if stream.peek.kind == TOKEN_EXPRESSION:
            next(stream)
        lines = stream.current
        parts = cast("Stream", stream).parts
        tokens = [] if lines is token else parts.taken(tag_lines(lines))
        inner = Stream(tokens, lines.source, lines.start_index + len(lines.value), parts, stream.block_depth)
        return self.node_class(token, lines, block=get_parser(self.env).parse_block(inner, end=()))


class Illegal(illegal.Illegal):
    def parse(self, stream: TokenStream) -> NoReturn:
        """Raises LiquidSyntaxError: there is no tag of that name, or not here."""
        raise LiquidSyntaxError(misplaced(stream.current.value), token=stream.current)


def misplaced(name: str) -> str:
    """What to say about a tag that is none of ours."""
    if name in _OTHER_FILES:
        return f"the tag '{name}' needs other templates, and a push has none"
    if name in _INNER or name in ENDS:
        return f"unexpected tag '{name}'"
    return f"unknown tag '{name}'" if name else "a tag needs a name"


MARKUP: tuple[type[Tag], ...] = (content.Literal, Output, Illegal)
"""What python-liquid treats as tags too."""

TAGS: tuple[type[Tag], ...] = (
    assign_tag.AssignTag,
    capture_tag.CaptureTag,
    case_tag.CaseTag,
    Cycle,
    decrement_tag.DecrementTag,
    Echo,
    for_tag.BreakTag,
    for_tag.ContinueTag,
    for_tag.ForTag,
    if_tag.IfTag,
    increment_tag.IncrementTag,
    Liquid,
    tablerow_tag.TablerowTag,
    unless_tag.UnlessTag,
)

BLOCKS = {tag.name: tag.end for tag in TAGS if tag.block}
"""The tags that have an end, with its name."""

ENDS = frozenset(BLOCKS.values())
NAMES = frozenset(tag.name for tag in TAGS) | _INNER
