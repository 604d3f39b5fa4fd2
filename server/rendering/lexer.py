"""Cuts a template into tokens for python-liquid's parser, in time linear in its length.

python-liquid's own patterns look ahead to the end at every opening: 16 KiB of ``{{`` take it eight seconds. This one
reads each character once or twice, and as LiquidJS does it knows quotes: ``{{ '}}' }}`` is one output.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from liquid.exceptions import LiquidSyntaxError
from liquid.token import (
    TOKEN_CONTENT,
    TOKEN_EOF,
    TOKEN_EXPRESSION,
    TOKEN_FLOAT,
    TOKEN_IDENTINDEX,
    TOKEN_IDENTSTRING,
    TOKEN_INTEGER,
    TOKEN_OUTPUT,
    TOKEN_RANGE_LITERAL,
    TOKEN_STRING,
    TOKEN_TAG,
    TOKEN_WORD,
    Token,
    operators,
)

# No backtracking, so that no text takes long. Groups are atomic, not possessive: Python before 3.11.5 mistakes those.
_QUOTED = r'"(?>(?:[^"\\]|\\.)*)"|' + r"'(?>(?:[^'\\]|\\.)*)'"
_OPENING = re.compile(r"\{\{|\{%")
_OUTPUT_REST = re.compile(rf"(?>(?:[^'\"}}]|{_QUOTED}|\}}(?!\}}))*)\}}\}}", re.DOTALL)
_TAG_NAME = re.compile(r"#|\w++|")
_END = {name: re.compile(rf"\{{%-?\s*+end{name}\s*+(-?)%\}}") for name in ("raw", "comment")}
_EXPRESSION = re.compile(
    rf"""(?P<{TOKEN_IDENTINDEX}>\[\s*+-?\d++\s*+\])
    |(?P<{TOKEN_IDENTSTRING}>\[\s*+(?:{_QUOTED})\s*+\])
    |(?P<{TOKEN_STRING}>{_QUOTED})
    |(?P<{TOKEN_FLOAT}>-?\d++\.(?!\.)\d*+)
    |(?P<{TOKEN_INTEGER}>-?\d++\b)
    |(?P<{TOKEN_WORD}>\w[\w\-]*+\??)
    |(?P<operator>\.\.|[!=<>]{{1,2}}|[.()\[\]:,|])
    |(?P<space>\s++)""",
    re.DOTALL | re.VERBOSE,
)
_ESCAPE = re.compile(r"\\(?:u(?P<hex>[\da-fA-F]{0,4})|(?P<octal>[0-7]{1,3})|(?P<other>.))", re.DOTALL)
_CONTROLS = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}
_WORDS = frozenset({"true", "false", "nil", "null", "empty", "blank", "and", "or", "contains", "not"})
_LOOP_WORDS = _WORDS | {"in", "limit", "offset", "reversed", "cols", "continue"}
_LOOPS = frozenset({"for", "tablerow"})


def tokenize(source: str) -> Iterator[Token]:
    """The tokens of a template. Raises LiquidSyntaxError for what is not closed."""
    at, trim = 0, False
    while opening := _OPENING.search(source, at):
        start = opening.start()
        yield from _content(source, at, start, trim=(trim, source.startswith("-", start + 2)))
        inner, at = _inner(source, start)
        trim = source[at - 3] == "-"
        if opening[0] == "{{":
            yield Token(TOKEN_OUTPUT, source[start:at], start, source)
            yield inner
            continue
        name, rest = _named(inner)
        if name.value in _END:
            end = _closing(source, at, name)
            yield from _verbatim(source, at, end.start(), name)
            at, trim = end.end(), bool(end[1])
        elif name.value == "#":
            _check_comment(rest)
        else:
            yield name
            if rest.value:
                yield rest
    yield from _content(source, at, len(source), trim=(trim, False))


def _content(source: str, start: int, end: int, *, trim: tuple[bool, bool]) -> Iterator[Token]:
    shown = source[start:end]
    shown = shown.lstrip() if trim[0] else shown
    shown = shown.rstrip() if trim[1] else shown
    if shown:
        yield Token(TOKEN_CONTENT, shown, start, source)


def _verbatim(source: str, start: int, end: int, name: Token) -> Iterator[Token]:
    """``raw`` is content as it stands; a comment is nothing."""
    if name.value == "raw" and start < end:
        yield Token(TOKEN_CONTENT, source[start:end], start, source)


def _inner(source: str, start: int) -> tuple[Token, int]:
    """What is between the delimiters, and where the markup ends."""
    end = _output_end(source, start) if source[start + 1] == "{" else source.find("%}", start + 2) + 2
    if end < start + len("{{}}"):
        what = "output" if source[start + 1] == "{" else "tag"
        raise LiquidSyntaxError(f"the {what} is not closed", token=Token(TOKEN_EOF, "", start, source))
    first, last = start + 2, end - 2
    first += source.startswith("-", first, last)
    last -= source.endswith("-", first, last)
    return _stripped(source, first, last), end


def _output_end(source: str, start: int) -> int:
    found = _OUTPUT_REST.match(source, start + 2)
    return found.end() if found else -1


def _stripped(source: str, first: int, last: int) -> Token:
    expression = source[first:last]
    leading = len(expression) - len(expression.lstrip())
    return Token(TOKEN_EXPRESSION, expression.strip(), first + leading, source)


def _named(inner: Token) -> tuple[Token, Token]:
    """A tag's name, and the rest as an expression."""
    found = _TAG_NAME.match(inner.value)
    name = found[0] if found else ""
    rest = _stripped(inner.source, inner.start_index + len(name), inner.start_index + len(inner.value))
    return Token(TOKEN_TAG, name, inner.start_index, inner.source), rest


def _closing(source: str, at: int, name: Token) -> re.Match[str]:
    if found := _END[name.value].search(source, at):
        return found
    raise LiquidSyntaxError(f"the tag '{name.value}' is not closed", token=name)


def _check_comment(rest: Token) -> None:
    if not all(line.lstrip().startswith("#") for line in rest.value.splitlines()[1:] if line.strip()):
        raise LiquidSyntaxError("every line of an inline comment starts with #", token=rest)


def tag_lines(expression: Token) -> Iterator[Token]:
    """The tokens of a ``liquid`` tag: one tag a line."""
    at = expression.start_index
    for line in expression.value.splitlines(keepends=True):
        name, rest = _named(_stripped(expression.source, at, at + len(line)))
        at += len(line)
        if line.strip() and name.value != "#":
            yield name
            if rest.value:
                yield rest


def tokenize_expression(expression: Token, tag: str | None = None) -> Iterator[Token]:
    """The tokens of an expression; ``tag`` is the name of the tag that it belongs to."""
    keywords = _LOOP_WORDS if tag in _LOOPS else _WORDS
    at, after_dot, source = 0, False, expression.value
    while at < len(source):
        found = _EXPRESSION.match(source, at)
        if found is None:
            where = Token(TOKEN_EOF, source[at], expression.start_index + at, expression.source)
            raise LiquidSyntaxError(f"unexpected {source[at]!r}", token=where)
        at = found.end()
        if found.lastgroup != "space":
            token = _lexeme(found, expression)
            is_keyword = token.kind == TOKEN_WORD and token.value in keywords and not after_dot
            yield token._replace(kind=token.value) if is_keyword else token
            after_dot = token.value == "."


def _lexeme(found: re.Match[str], expression: Token) -> Token:
    kind, value = found.lastgroup or "", found[0]
    start = expression.start_index + found.start()
    if kind == "operator":
        kind = TOKEN_RANGE_LITERAL if value == "(" else operators.get(value, "")
        if not kind:
            raise LiquidSyntaxError(f"unknown operator {value!r}", token=Token("", value, start, expression.source))
    elif kind == TOKEN_STRING:
        value = _unescaped(value[1:-1])
    elif kind == TOKEN_IDENTSTRING:
        value = _unescaped(value[1:-1].strip()[1:-1])
    elif kind == TOKEN_IDENTINDEX:
        value = value[1:-1].strip()
    return Token(kind, value, start, expression.source)


def _unescaped(literal: str) -> str:
    """A string literal with JavaScript's escapes resolved."""
    if "\\" not in literal:
        return literal
    units = _ESCAPE.sub(_character, literal)
    return units.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")  # joins surrogate pairs


def _character(escape: re.Match[str]) -> str:
    if escape["other"] is not None:
        return _CONTROLS.get(escape["other"], escape["other"])
    return chr(int(escape["octal"], 8) if escape["octal"] else int(escape["hex"] or "0", 16))
