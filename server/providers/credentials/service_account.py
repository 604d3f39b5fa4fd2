"""FCM content: the service-account JSON file that Firebase gives out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from server.domain.credentials import CredentialContent
from server.providers.credentials import pem
from server.providers.credentials.problems import Problems
from server.providers.credentials.secret import ServiceAccount

_FIELD = "content.privateKey"
_PROJECT_ID = re.compile(r"[a-zA-Z0-9.:_-]{1,100}")
_NAMES = ("project_id", "client_email", "private_key_id", "private_key")


def parse(content: CredentialContent, problems: Problems) -> ServiceAccount | None:
    """``content.private_key`` is base64 of the JSON file; None after a problem."""
    text = problems.file(_FIELD, content.private_key)
    document = None if text is None else _document(text, problems)
    if document is None:
        return None
    values = {name: _text(document, name, problems) for name in _NAMES}
    if values["project_id"] and not _PROJECT_ID.fullmatch(values["project_id"]):
        problems.add(_FIELD, "has a project_id that is no project id")
    values["private_key"] = _rsa_key(values["private_key"], problems)
    return ServiceAccount(**values)


def _document(text: str, problems: Problems) -> Mapping[str, object] | None:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        problems.add(_FIELD, "is not the JSON file of a Google service account")
        return None
    if document.get("type") != "service_account":
        problems.add(_FIELD, 'is not a service account: its "type" must be "service_account"')
        return None
    return document


def _text(document: Mapping[str, object], name: str, problems: Problems) -> str:
    value = document.get(name)
    if isinstance(value, str) and value:
        return value
    problems.add(_FIELD, f"lacks {name}")
    return ""


def _rsa_key(text: str, problems: Problems) -> str:
    key = pem.private_key(_FIELD, text, problems) if text else None
    if key is None:
        return ""
    if not pem.is_strong_rsa(key):
        problems.add(_FIELD, f"holds an unsupported private_key: RSA of at least {pem.SMALLEST_RSA} bits is needed")
    return pem.canonical(key)
