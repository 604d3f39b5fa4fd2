"""What an APNs topic may be: it goes into a header as it is."""

from __future__ import annotations

import re

_TOPIC = re.compile(r"[A-Za-z0-9._-]{1,255}")


def is_topic(value: object) -> bool:
    """Whether ``value`` is a bundle id, with or without a suffix such as ``.voip``."""
    return isinstance(value, str) and _TOPIC.fullmatch(value) is not None
