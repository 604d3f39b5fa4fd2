"""The rule for a push's image: an https URL with a host, as it is written or once it is rendered."""

from __future__ import annotations

import re

NO_IMAGE = "must be an https URL with a host"

_SCHEME = "https://"
_URL = re.compile(r"https://(?:[^\s/?#@]*@)?[\w\[][^\s/?#@]*(?:[/?#]|\Z)")


def is_image(text: str) -> bool:
    """Whether the text is such a URL. What comes after the host is the provider's to judge."""
    return _URL.match(text) is not None


def can_become_image(source: str) -> bool:
    """Whether the template can render to one: what is before its first variable has to be a URL's beginning."""
    start = source.partition("{")[0]
    return start.startswith(_SCHEME) or _SCHEME.startswith(start)
