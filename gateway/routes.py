"""From an HTTP method and path to an endpoint: a tree of path segments."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Generic, TypeVar
from urllib.parse import unquote_to_bytes

from gateway.contract import Binding
from gateway.errors import ApiError

VERSIONS = ("v1", "preview")

Endpoint = TypeVar("Endpoint")


@dataclass(slots=True)
class _Node(Generic[Endpoint]):
    literals: dict[str, _Node[Endpoint]] = field(default_factory=dict)
    variable: _Node[Endpoint] | None = None
    methods: dict[str, tuple[Endpoint, tuple[str, ...]]] = field(default_factory=dict)

    def child(self, segment: object) -> _Node[Endpoint]:
        if isinstance(segment, str):
            return self.literals.setdefault(segment, _Node())
        if self.variable is None:
            self.variable = _Node()
        return self.variable


class Routes(Generic[Endpoint]):
    """The paths of a contract. At every step a literal segment wins over a variable, for good."""

    def __init__(self) -> None:
        self._root: _Node[Endpoint] = _Node()

    def add(self, binding: Binding, endpoint: Endpoint) -> None:
        """Mount the endpoint under every version.

        Raises ValueError if the path is outside of the version or already taken.
        """
        if binding.segments[0] != VERSIONS[0]:
            message = f"not under /{VERSIONS[0]}: {binding.segments}"
            raise ValueError(message)
        for version in VERSIONS:
            node = self._root
            for segment in (version, *binding.segments[1:]):
                node = node.child(segment)
            if binding.http_method in node.methods:
                message = f"two RPCs on {binding.http_method} {binding.segments}"
                raise ValueError(message)
            node.methods[binding.http_method] = (endpoint, binding.variables)

    def find(self, http_method: str, raw_path: bytes) -> tuple[Endpoint, dict[str, str]]:
        """The endpoint and the values of its path variables, percent-decoded segment by segment.

        Raises ApiError: 404 for an unknown path, 405 with `Allow` for a known path without this method.
        """
        node, values = self._walk(_segments(raw_path))
        if not node.methods:
            raise ApiError(HTTPStatus.NOT_FOUND)
        if http_method not in node.methods:
            raise ApiError(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": ", ".join(sorted(node.methods))})
        endpoint, names = node.methods[http_method]
        return endpoint, dict(zip(names, values, strict=True))

    def methods(self, raw_path: bytes) -> dict[str, Endpoint]:
        """The endpoints of a path by HTTP method; none for an unknown path."""
        try:
            node, _ = self._walk(_segments(raw_path))
        except ApiError:
            return {}
        return {method: endpoint for method, (endpoint, _) in node.methods.items()}

    def _walk(self, segments: Iterable[str]) -> tuple[_Node[Endpoint], list[str]]:
        node, values = self._root, []
        for segment in segments:
            literal = node.literals.get(segment)
            if literal is not None:
                node = literal
            elif node.variable is not None and segment:
                node = node.variable
                values.append(segment)
            else:
                raise ApiError(HTTPStatus.NOT_FOUND)
        return node, values


def _segments(raw_path: bytes) -> list[str]:
    try:
        segments = [unquote_to_bytes(segment).decode() for segment in raw_path.removeprefix(b"/").split(b"/")]
    except UnicodeDecodeError:
        raise ApiError(HTTPStatus.NOT_FOUND) from None
    if any("\0" in segment for segment in segments):
        raise ApiError(HTTPStatus.BAD_REQUEST)
    return segments
