"""Collects what is wrong with an upload, so that one answer lists all of it."""

from __future__ import annotations

import base64
import binascii

from server.domain.credentials import ContentProblem, InvalidCredentialContent

# The largest real file is a certificate with its chain, under 8 KiB; a huge RSA key would take seconds to check.
_LARGEST_FILE = 16 * 1024


class Problems:
    """The problems found so far, in the order of finding."""

    def __init__(self) -> None:
        self._found: list[ContentProblem] = []

    def __bool__(self) -> bool:
        return bool(self._found)

    def add(self, field: str, message: str) -> None:
        self._found.append(ContentProblem(field, message))

    def invalid(self) -> InvalidCredentialContent:
        return InvalidCredentialContent(self._found)

    def file(self, field: str, encoded: str | None) -> str | None:
        """The text of an uploaded file, from base64 with or without line breaks; None after a problem."""
        if not encoded:
            self.add(field, "is required")
            return None
        try:
            content = base64.b64decode("".join(encoded.split()), validate=True)
            text = content.decode()
        except (binascii.Error, ValueError):
            self.add(field, "is not the base64 of a text file")
            return None
        if len(content) > _LARGEST_FILE:
            self.add(field, f"is larger than {_LARGEST_FILE} bytes")
            return None
        return text
