"""The page that the `infoUrl` of every error leads to: each code, what it means, and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from http import HTTPStatus
from string import Template
from typing import Final

import msgspec
from pharos.push.v1 import types_pb2

from gateway.comments import comment, comment_of
from gateway.errors import ApiError, every_error
from gateway.schema import enum_names

_FIRST_REASON: Final = 21000  # a delivery reason's code is this plus its number in the contract

_ADVICE: Final = {
    HTTPStatus.BAD_REQUEST: "Correct the request: each entry of `errors` says what is wrong, and `context` is the JSON "
    "path of the field. The same request will be refused again.",
    HTTPStatus.UNAUTHORIZED: "Send HTTP Basic credentials: an account's id and its auth token, or an API key and its "
    "secret.",
    HTTPStatus.FORBIDDEN: "Use credentials that may do this.",
    HTTPStatus.NOT_FOUND: "Check the path and the id. A resource of another account is not found either.",
    HTTPStatus.METHOD_NOT_ALLOWED: "Use one of the methods that the `Allow` header names.",
    HTTPStatus.REQUEST_TIMEOUT: "Send the body faster, or less of it. Nothing took effect.",
    HTTPStatus.CONFLICT: "Fetch the resource and decide anew. Where the message speaks of an idempotency key: use a "
    "new key for another request, or try again after `Retry-After` seconds if the first is still being answered.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "Split the request: a body has at most 32 MiB, a send at most 10,000 "
    "recipients.",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "Send `Content-Type: application/json`, in UTF-8 and without "
    "`Content-Encoding`.",
    HTTPStatus.TOO_MANY_REQUESTS: "Try again after `Retry-After` seconds, and more slowly.",
    HTTPStatus.INTERNAL_SERVER_ERROR: "Try again once, with the same `Idempotency-Key`. If it stays, ask whoever runs "
    "this service and give them the request id.",
    HTTPStatus.NOT_IMPLEMENTED: "Leave the method or field out; a later version may have it.",
    HTTPStatus.SERVICE_UNAVAILABLE: "Try again after `Retry-After` seconds, with the same `Idempotency-Key`.",
    HTTPStatus.GATEWAY_TIMEOUT: "Try again, with the same `Idempotency-Key` where the request had one: then it takes "
    "effect once.",
}

_PAGE: Final = Template("""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Pharos: errors</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="assets/style.css">
</head>
<body>
<nav><a href="../docs">REST API</a><a href="#errors">Errors of requests</a><a href="#reasons">Reasons of \
deliveries</a></nav>
<main class="text">
<h1>Errors</h1>
<p>A request that fails answers with a document like the ones below. Programs switch on <code>code</code>;
<code>message</code> is for people and may change. Every answer has an <code>X-Request-Id</code>, which leads to it in
the logs.</p>
<h2 id="errors">Errors of requests</h2>
$errors
<h2 id="reasons">Reasons of deliveries</h2>
$about
<p>They stand in <code>reason</code> with these codes in an operation's errors, and without in status events and
devices.</p>
$reasons
</main>
</body>
</html>
""")


def render_errors(public_url: str) -> bytes:
    """The page as HTML. Its example documents lead to `public_url`."""
    errors = sorted(every_error(), key=lambda error: error.code)
    page = _PAGE.substitute(
        errors="\n".join(_error(error, public_url or "https://push.example") for error in errors),
        about=_paragraphs(comment(types_pb2.DeliveryReason.DESCRIPTOR)),
        reasons="\n".join(_reasons()),
    )
    return page.encode()


def _error(error: ApiError, public_url: str) -> str:
    example = msgspec.json.format(error.body(public_url), indent=2).decode()
    return "\n".join(
        (
            _heading(error.code, f"{error.code}: {int(error.status)} {error.status.phrase}"),
            _paragraphs(error.problems[0].message),
            _paragraphs(_ADVICE[error.status]),
            f"<pre>{escape(example)}</pre>",
        )
    )


def _reasons() -> Iterator[str]:
    reasons = types_pb2.DeliveryReason.DESCRIPTOR
    names = enum_names(reasons)
    for value in reasons.values:
        if value.number in names:
            code = _FIRST_REASON + value.number
            yield _heading(code, f"{code}: {names[value.number]}")
            yield _paragraphs(comment_of(f"{reasons.full_name}.{value.name}"))


def _heading(code: int, text: str) -> str:
    return f'<h3 id="{code}"><a href="#{code}">{escape(text)}</a></h3>'


def _paragraphs(text: str) -> str:
    marked = re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text, quote=False))
    return "\n".join(f"<p>{paragraph}</p>" for paragraph in marked.split("\n\n"))
