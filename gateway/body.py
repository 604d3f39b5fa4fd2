"""The request body: its type, its size and its time, checked while it arrives."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from email.message import Message
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.requests import Request

from gateway.errors import ApiError
from gateway.settings import Settings


async def read_body(request: Request, settings: Settings) -> bytes:
    """The whole body; empty when there is none.

    A body over the limit is read on, unkept, to twice the limit: most clients look for the answer only when all
    is sent. Raises ApiError 408, 413, or 415 (checked only when there is a body).
    """
    _check_announced(request.headers, settings.max_body)
    try:
        async with asyncio.timeout(settings.upload_timeout):
            return await _collect(request, settings.max_body)
    except TimeoutError:
        raise _closing(HTTPStatus.REQUEST_TIMEOUT) from None


def _check_announced(headers: Headers, limit: int) -> None:
    length = headers.get("content-length", "")
    announced = int(length) if length.isdecimal() else 0
    if announced > 2 * limit or (announced > limit and "expect" in headers):
        raise _closing(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)


async def _collect(request: Request, limit: int) -> bytes:
    chunks: list[bytes] = []
    total = 0
    async with aclosing(request.stream()) as stream:
        async for chunk in stream:
            if chunk and not total:
                _check_type(request.headers)
            total += len(chunk)
            if total > 2 * limit:
                break
            if total <= limit:
                chunks.append(chunk)
            else:
                chunks.clear()
    if total > limit:
        raise _closing(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    return b"".join(chunks)


def _check_type(headers: Headers) -> None:
    content_type = Message()
    content_type["Content-Type"] = headers.get("content-type", "")
    charset = str(content_type.get_param("charset", "utf-8")).lower()
    plain = headers.get("content-encoding", "identity").lower() == "identity"
    if content_type.get_content_type() != "application/json" or charset not in {"utf-8", "utf8"} or not plain:
        raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)


def _closing(status: HTTPStatus) -> ApiError:
    return ApiError(status, headers={"Connection": "close"})
