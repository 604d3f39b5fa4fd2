"""Filters that write a value in another form: HTML, URL, base64, JSON, hashes."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, quote_plus, unquote_plus

from liquid.exceptions import FilterArgumentError
from liquid.undefined import Undefined

from server.rendering.filters.texts import count
from server.rendering.values import is_truthy, text, tidy

_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&#34;", "'": "&#39;"})
_ESCAPED = re.compile(r"&(?:amp|lt|gt|#34|#39);")
_UNESCAPES = {"&amp;": "&", "&lt;": "<", "&gt;": ">", "&#34;": '"', "&#39;": "'"}
_TAGS = (("<script", "</script>"), ("<style", "</style>"), ("<!--", "-->"), ("<", ">"))
_COMPONENT_SAFE = "-_.!~*'()"
_URI_SAFE = ";,/?:@&=+$-_.!~*'()#[]"


def escape(value: object) -> str:
    return text(value).translate(_ESCAPES)


def escape_once(value: object) -> str:
    return _ESCAPED.sub(lambda found: _UNESCAPES[found[0]], text(value)).translate(_ESCAPES)


def strip_html(value: object) -> str:
    """Without tags and comments, and without scripts and styles with what is in them. What is not closed stays."""
    shown, kinds, kept, at = text(value), dict(_TAGS), [], 0
    while (opening := shown.find("<", at)) >= 0:
        end = _tag_end(shown, opening, kinds)
        if end < 0:
            break
        kept.append(shown[at:opening])
        at = end
    return "".join([*kept, shown[at:]])


def _tag_end(shown: str, opening: int, kinds: dict[str, str]) -> int:
    """The end of the tag or block at ``opening``, -1 if none; a kind that is never closed again is looked for once."""
    for opener, closer in tuple(kinds.items()):
        if shown.startswith(opener, opening):
            end = shown.find(closer, opening + len(opener))
            if end >= 0:
                return end + len(closer)
            del kinds[opener]
    return -1


def url_encode(value: object) -> str:
    return quote(text(value), safe=_COMPONENT_SAFE).replace("%20", "+")


def url_decode(value: object) -> str:
    return unquote_plus(text(value))


def cgi_escape(value: object) -> str:
    return quote_plus(text(value))


def uri_escape(value: object) -> str:
    return quote(text(value), safe=_URI_SAFE)


def base64_encode(value: object) -> str:
    return base64.b64encode(text(value).encode()).decode()


def base64_decode(value: object) -> str:
    encoded = "".join(text(value).split()).rstrip("=")
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), validate=True).decode(errors="replace")
    except (binascii.Error, ValueError):
        raise FilterArgumentError("base64_decode: this is not base64", token=None) from None


def sha256(value: object) -> str:
    return hashlib.sha256(text(value).encode()).hexdigest()


def hmac_sha256(value: object, key: object = None) -> str:
    return hmac.new(text(key).encode(), text(value).encode(), "sha256").hexdigest()


def to_json(value: object, indent: object = None) -> str:
    """JSON as ``JSON.stringify`` writes it; what is not there at all is an empty text."""
    if isinstance(value, Undefined):
        return ""
    spaces = min(max(count(indent, 0), 0), 10)
    separators = (",", ": ") if spaces else (",", ":")
    return json.dumps(_finite(value), ensure_ascii=False, indent=spaces or None, separators=separators)


def _finite(value: object) -> object:
    if isinstance(value, float):
        return tidy(value) if math.isfinite(value) else None
    if isinstance(value, Undefined):
        return None
    if isinstance(value, list | tuple | range):
        return [_finite(item) for item in value]
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items() if not isinstance(item, Undefined)}
    return value


def raw(value: object) -> object:
    return value


def default(value: object, fallback: object = None, *, allow_false: object = None) -> object:
    """The fallback for what is missing, false, or an empty text or list."""
    if value is False and is_truthy(allow_false):
        return value
    return value if is_truthy(value) and value not in ("", []) else fallback


FILTERS: dict[str, Callable[..., Any]] = {
    "base64_decode": base64_decode,
    "base64_encode": base64_encode,
    "cgi_escape": cgi_escape,
    "default": default,
    "escape": escape,
    "escape_once": escape_once,
    "hmac_sha256": hmac_sha256,
    "inspect": to_json,
    "json": to_json,
    "jsonify": to_json,
    "raw": raw,
    "sha256": sha256,
    "strip_html": strip_html,
    "uri_escape": uri_escape,
    "url_decode": url_decode,
    "url_encode": url_encode,
    "xml_escape": escape,
}
