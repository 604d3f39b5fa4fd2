"""What is wrong with a text, and where."""

from __future__ import annotations

from typing import NamedTuple

from liquid.exceptions import LiquidError
from liquid.token import Token

_EXCERPT = 40  # characters


class Problem(NamedTuple):
    """Line and column count from 1; ``excerpt`` is the text from there on, to the line's end at most."""

    message: str
    line: int = 1
    column: int = 1
    excerpt: str = ""

    def __str__(self) -> str:
        return f"{self.message} (line {self.line}, column {self.column})"


class UnusableTextError(Exception):
    """Holds all that was found; never empty."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*map(str, problems))
        self.problems = problems


def at_token(message: str, token: Token | None) -> Problem:
    """The problem where the token starts in its source."""
    if token is None or token.start_index < 0:
        return Problem(message)
    before = token.source[: token.start_index]
    return Problem(message, before.count("\n") + 1, len(before) - before.rfind("\n"), _excerpt(token))


def _excerpt(token: Token) -> str:
    line, _, _ = token.source[token.start_index :].partition("\n")
    return line if len(line) <= _EXCERPT else f"{line[:_EXCERPT]}…"


def explained(error: Exception) -> Problem:
    """An error of parsing or rendering in words, which hold nothing of the variables."""
    if isinstance(error, LiquidError):
        return at_token(str(error.message), error.token)
    if isinstance(error, RecursionError):
        return Problem("nested too deeply")
    return Problem(f"it can't be rendered ({type(error).__name__})")
