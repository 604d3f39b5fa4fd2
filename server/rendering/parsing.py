"""Parses and checks one text. All that can be said about it without its variables is said here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from inspect import Parameter, signature
from itertools import islice
from typing import NamedTuple

import liquid
from liquid.ast import Node
from liquid.builtin.expressions import Filter, KeywordArgument, Path
from liquid.expression import Expression
from liquid.parser import get_parser
from liquid.template import BoundTemplate
from liquid.token import TOKEN_TAG, Token

from server.rendering.context import Context
from server.rendering.expressions import filters_of
from server.rendering.filters import FILTERS, VOLATILE
from server.rendering.lexer import tokenize
from server.rendering.limits import Meter, PartsMeter
from server.rendering.problems import Problem, UnusableTextError, at_token
from server.rendering.stream import Stream
from server.rendering.tags import BLOCKS, ENDS, MARKUP, NAMES, TAGS, misplaced

_MOST_PROBLEMS = 20


class Environment(liquid.Environment):
    """python-liquid with LiquidJS's tags and filters and no others; it loads nothing from elsewhere."""

    suppress_blank_control_flow_blocks = False
    logical_not_operator = True

    def setup_tags_and_filters(self, *, extra: bool = False) -> None:  # noqa: ARG002  # python-liquid's signature
        """Called by the constructor."""
        for tag in (*MARKUP, *TAGS):
            self.add_tag(tag)
        self.filters.update(FILTERS)


class Parsed(NamedTuple):
    """``variables`` are the names that are read from outside; volatile is what varies without any.

    ``needed`` are those of them that the text sets nowhere itself.
    """

    bound: BoundTemplate
    variables: frozenset[str]
    needed: frozenset[str]
    is_volatile: bool


def parse(environment: Environment, source: str, parts: PartsMeter) -> Parsed:
    """The text as a tree of python-liquid's. Raises UnusableTextError, LiquidError or RecursionError."""
    bound = BoundTemplate(environment, _nodes(environment, source, parts))
    context = Context(bound, {}, Meter())
    expressions = list(_all_expressions(bound.nodes, context))
    _check(_expression_problems(expressions))
    used = {used.name for expression in expressions for used in filters_of(expression)}
    names = frozenset(map(str, _names_read(bound.nodes, context, frozenset())))
    needed = names.difference(map(str, _names_set(bound.nodes, context)))
    return Parsed(bound, names, needed, not used.isdisjoint(VOLATILE))


def _nodes(environment: Environment, source: str, parts: PartsMeter) -> list[Node]:
    tokens = parts.taken(tokenize(source))
    _check(_tag_problems(tokens))
    return get_parser(environment).parse(Stream(tokens, source, len(source), parts))


def _check(problems: Iterable[Problem]) -> None:
    if found := tuple(islice(problems, _MOST_PROBLEMS)):
        raise UnusableTextError(*found)


def _tag_problems(tokens: list[Token]) -> Iterator[Problem]:
    """Unknown tags, ends without a beginning and the other way round."""
    opened: list[Token] = []
    for token in tokens:
        if token.kind != TOKEN_TAG:
            continue
        if token.value in BLOCKS:
            opened.append(token)
        elif opened and token.value == BLOCKS[opened[-1].value]:
            opened.pop()
        elif token.value not in NAMES or token.value in ENDS:
            yield at_token(misplaced(token.value), token)
    for token in opened:
        yield at_token(f"the tag '{token.value}' is not closed", token)


def _all_expressions(nodes: Iterable[Node], context: Context) -> Iterator[Expression]:
    for node in nodes:
        yield from _own_expressions(node)
        yield from _all_expressions(node.children(context), context)


def _own_expressions(node: Node) -> Iterator[Expression]:
    """A node's expressions with all that is inside of them."""
    rest = list(node.expressions())[::-1]
    while rest:
        yield (expression := rest.pop())
        rest += list(expression.children())[::-1]


def _names_read(nodes: Iterable[Node], context: Context, bound: frozenset[str]) -> Iterator[object]:
    """The names that are not bound by a loop around them.

    That includes names which the text sets itself: the place where it does may never be reached.
    """
    for node in nodes:
        roots = (expression.path[0] for expression in _own_expressions(node) if isinstance(expression, Path))
        yield from (root for root in roots if root not in bound)
        yield from _names_read(node.children(context), context, bound.union(node.block_scope()))


def _names_set(nodes: Iterable[Node], context: Context) -> Iterator[object]:
    for node in nodes:
        yield from node.template_scope()
        yield from _names_set(node.children(context), context)


def _expression_problems(expressions: list[Expression]) -> Iterator[Problem]:
    for expression in expressions:
        if isinstance(expression, Path) and not isinstance(expression.path[0], str):
            yield at_token("the name of a variable can't be computed", expression.token)
        for used in filters_of(expression):
            yield from _filter_problems(used)


def _filter_problems(used: Filter) -> Iterator[Problem]:
    if used.name not in FILTERS:
        yield at_token(f"unknown filter '{used.name}'", used.token)
        return
    takes = _arguments_of(used.name)
    positions = [argument for argument in used.args if not isinstance(argument, KeywordArgument)]
    if len(positions) < takes.required:
        yield at_token(f"the filter '{used.name}' needs an argument", used.token)
    named = [argument for argument in used.args if isinstance(argument, KeywordArgument)]
    # LiquidJS ignores what a filter does not know; python-liquid would pass it on and fail for every recipient.
    used.args = [*positions[: takes.most], *(argument for argument in named if argument.name in takes.names)]


class _Arguments(NamedTuple):
    required: int
    most: int
    names: frozenset[str]


@cache
def _arguments_of(name: str) -> _Arguments:
    _, *parameters = signature(FILTERS[name]).parameters.values()
    positions = [parameter for parameter in parameters if parameter.kind is not Parameter.KEYWORD_ONLY]
    return _Arguments(
        required=sum(parameter.default is Parameter.empty for parameter in positions),
        most=len(positions),
        names=frozenset(parameter.name for parameter in parameters if parameter.kind is Parameter.KEYWORD_ONLY),
    )
