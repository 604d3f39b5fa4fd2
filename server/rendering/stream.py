"""python-liquid's token stream on top of our lexer."""

from __future__ import annotations

from liquid.exceptions import LiquidSyntaxError
from liquid.stream import TokenStream
from liquid.token import TOKEN_EOF, TOKEN_EXPRESSION, Token

from server.rendering.lexer import tokenize_expression
from server.rendering.limits import PartsMeter


class Stream(TokenStream):
    """Its end has a place in the source, so that every message can name one."""

    def __init__(self, tokens: list[Token], source: str, end: int, parts: PartsMeter, depth: int = 0) -> None:
        super().__init__(iter(tokens), depth)
        self.parts = parts
        self.eof = Token(TOKEN_EOF, TOKEN_EOF, end, source)

    def into_inner(self, *, tag: Token | None = None, eat: bool = True) -> TokenStream:
        """The current token's expression as a stream. Raises LiquidSyntaxError when it is no expression."""
        token = self.current
        if token.kind != TOKEN_EXPRESSION:
            raise LiquidSyntaxError("an expression is missing", token=tag or token)
        if eat:
            next(self)
        tokens = self.parts.taken(tokenize_expression(token, tag.value if tag else None))
        return Stream(tokens, token.source, token.start_index + len(token.value), self.parts)
