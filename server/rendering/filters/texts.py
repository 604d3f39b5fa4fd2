"""Filters on texts. Lengths and positions count code points; only ``size`` counts as JavaScript does."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from server.rendering.limits import check_length
from server.rendering.values import is_missing, number, text

_WHITESPACE = re.compile(r"\s+")
_LINE_END = re.compile(r"\r?\n")
_CJK = "\u4e00-\u9fff\uf900-\ufaff\u3400-\u4dbf\u3040-\u309f\u30a0-\u30ff\uac00-\ud7af"
_CJK_CHARACTER = re.compile(f"[{_CJK}]")
_OTHER_WORD = re.compile(rf"[^{_CJK}\s]+")


def count(value: object, default: int) -> int:
    """A length as an argument: cut to a whole number; what is no number counts as 0, what is missing as the default."""
    wanted = default if is_missing(value) else number(value)
    return int(max(-(2.0**53), min(2.0**53, wanted))) if wanted == wanted else 0  # noqa: PLR0124  # NaN is not itself


def append(value: object, suffix: object) -> str:
    return text(value) + text(suffix)


def prepend(value: object, prefix: object) -> str:
    return text(prefix) + text(value)


def capitalize(value: object) -> str:
    shown = text(value)
    return shown[:1].upper() + shown[1:].lower()


def downcase(value: object) -> str:
    return text(value).lower()


def upcase(value: object) -> str:
    return text(value).upper()


def strip(value: object, characters: object = None) -> str:
    return text(value).strip(text(characters) or None)


def lstrip(value: object, characters: object = None) -> str:
    return text(value).lstrip(text(characters) or None)


def rstrip(value: object, characters: object = None) -> str:
    return text(value).rstrip(text(characters) or None)


def strip_newlines(value: object) -> str:
    return _LINE_END.sub("", text(value))


def newline_to_br(value: object) -> str:
    return _LINE_END.sub("<br />\n", text(value))


def squish(value: object) -> str:
    return _WHITESPACE.sub(" ", text(value)).strip()


def normalize_whitespace(value: object) -> str:
    return _WHITESPACE.sub(" ", text(value))


def _parts(whole: str, separator: str) -> list[str]:
    return whole.split(separator) if separator else list(whole)


def split(value: object, separator: object = None) -> list[str]:
    parts = _parts(text(value), text(separator))
    while parts and not parts[-1]:
        parts.pop()
    return parts


def replace(value: object, old: object, new: object = None) -> str:
    parts, substitute = _parts(text(value), text(old)), text(new)
    check_length(sum(map(len, parts)) + len(substitute) * (len(parts) - 1))
    return substitute.join(parts)


def replace_first(value: object, old: object, new: object = None) -> str:
    return text(value).replace(text(old), text(new), 1)


def replace_last(value: object, old: object, new: object = None) -> str:
    shown, wanted = text(value), text(old)
    at = shown.rfind(wanted)
    return shown if at < 0 else shown[:at] + text(new) + shown[at + len(wanted) :]


def remove(value: object, old: object) -> str:
    return "".join(_parts(text(value), text(old)))


def remove_first(value: object, old: object) -> str:
    return replace_first(value, old)


def remove_last(value: object, old: object) -> str:
    return replace_last(value, old)


def _ending(ellipsis: object) -> str:
    return "..." if is_missing(ellipsis) else text(ellipsis)


def truncate(value: object, length: object = None, ellipsis: object = None) -> object:
    shown, limit, end = text(value), count(length, 50), _ending(ellipsis)
    if len(shown) <= limit:
        return value
    return shown[: max(limit - len(end), 0)] + end


def truncatewords(value: object, length: object = None, ellipsis: object = None) -> str:
    words, limit = _WHITESPACE.split(text(value).lstrip()), max(count(length, 15), 1)
    shown = " ".join(words[:limit])
    return shown + _ending(ellipsis) if len(words) >= limit else shown


def number_of_words(value: object, mode: object = None) -> int:
    shown = text(value)
    characters = len(_CJK_CHARACTER.findall(shown))
    if mode == "cjk" or (mode == "auto" and characters):
        return characters + len(_OTHER_WORD.findall(shown))
    return len(shown.split())


FILTERS: dict[str, Callable[..., Any]] = {
    "append": append,
    "capitalize": capitalize,
    "downcase": downcase,
    "lstrip": lstrip,
    "newline_to_br": newline_to_br,
    "normalize_whitespace": normalize_whitespace,
    "number_of_words": number_of_words,
    "prepend": prepend,
    "remove": remove,
    "remove_first": remove_first,
    "remove_last": remove_last,
    "replace": replace,
    "replace_first": replace_first,
    "replace_last": replace_last,
    "rstrip": rstrip,
    "split": split,
    "squish": squish,
    "strip": strip,
    "strip_newlines": strip_newlines,
    "truncate": truncate,
    "truncatewords": truncatewords,
    "upcase": upcase,
}
