"""Page tokens: opaque to callers, good for the list and filters that they came from."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID

import msgspec
from google.protobuf.message import Message
from pharos.push.v1 import types_pb2

from server.domain.errors import Invalid, Violation
from server.domain.notifications import NEWEST

T = TypeVar("T")

DEFAULT_SIZE: Final = 50
_VERSION: Final = "1"
_INDEX_DIGITS: Final = 5


class _Content(msgspec.Struct, array_like=True):
    version: str
    filters: str
    key: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Token:
    """Makes and reads the tokens of one list: ``filters`` is a digest of its method and filters."""

    filters: str

    @classmethod
    def of(cls, request: Message) -> Token:
        """Return the tokens' maker for a list request that has ``page_size`` and ``page_token``."""
        bare = type(request)()
        bare.CopyFrom(request)
        bare.ClearField("page_size")
        bare.ClearField("page_token")
        digest = hashlib.sha256(request.DESCRIPTOR.full_name.encode() + bare.SerializeToString(deterministic=True))
        return cls(digest.hexdigest()[:12])

    def encode(self, key: tuple[str, ...]) -> str:
        """Return the token of the page that begins at ``key``."""
        return (
            base64.urlsafe_b64encode(msgspec.msgpack.encode(_Content(_VERSION, self.filters, key))).decode().rstrip("=")
        )

    def decode(self, token: str) -> tuple[str, ...] | None:
        """Return the key that the page begins at, None for the first page. Raises ``Invalid``."""
        if not token:
            return None
        try:
            raw = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
            content = msgspec.msgpack.decode(raw, type=_Content)
        except (ValueError, msgspec.DecodeError) as error:
            raise refused() from error
        if content.version != _VERSION or content.filters != self.filters:
            raise Invalid(Violation("page_token", "belongs to a list with other filters"))
        return content.key or None

    def pagination(self, own: str, following: tuple[str, ...] | None) -> types_pb2.Pagination:
        """Return the tokens of this page, which ``own`` led to, and of the next; the empty key is the beginning."""
        pagination = types_pb2.Pagination(next=None if following is None else self.encode(following))
        setattr(pagination, "self", own or self.encode(()))  # noqa: B010 # no argument can have this name
        return pagination


async def newest_first(
    request: Message, read: Callable[[UUID, int], Awaitable[Sequence[T]]], id_of: Callable[[T], UUID]
) -> tuple[Sequence[T], types_pb2.Pagination]:
    """Return one page of resources whose ids grow with time, and its tokens.

    ``read`` returns up to so many resources from an id on, newest first. The id need not exist any more: whatever is
    made or deleted meanwhile, what is there all the time comes exactly once.
    """
    size, own = request.page_size, request.page_token  # type: ignore[attr-defined]  # every list's request has them
    token, limit = Token.of(request), size or DEFAULT_SIZE
    found = await read(_first_id(token.decode(own)), limit + 1)
    following = (id_of(found[limit]).hex,) if len(found) > limit else None
    return found[:limit], token.pagination(own, following)


def _first_id(key: tuple[str, ...] | None) -> UUID:
    if key is None:
        return NEWEST
    try:
        return UUID(hex=fields(key, 1)[0])
    except ValueError as error:
        raise refused() from error


def fields(key: tuple[str, ...], count: int) -> tuple[str, ...]:
    """Return the key's parts. Raises ``Invalid`` where it is not one of this list's: tokens are not signed."""
    if len(key) != count:
        raise refused()
    return key


def index(text: str) -> int:
    """Return a recipient's index from a key. Raises ``Invalid``."""
    if not text.isdecimal() or len(text) > _INDEX_DIGITS:
        raise refused()
    return int(text)


def refused() -> Invalid:
    """Return the error for a token that is not ours."""
    return Invalid(Violation("page_token", "is not a page token"))
