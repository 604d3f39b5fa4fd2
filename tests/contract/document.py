"""An OpenAPI document as tests ask it: operations by a concrete path, schemas that validate."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from jsonschema import Draft202012Validator, FormatChecker

_BASE = "urn:openapi"
_METHODS = {"get", "put", "post", "delete", "patch"}
_FORMATS = FormatChecker()


@_FORMATS.checks("date-time")
def _is_date_time(value: object) -> bool:
    """RFC 3339, as far as these tests need it."""
    return not isinstance(value, str) or bool(
        re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", value)
    )


class Document:
    """`whole` is the document as it is served."""

    def __init__(self, whole: dict[str, Any]) -> None:
        self.whole = whole

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Path, method and description of each."""
        for path, item in self.whole["paths"].items():
            for method in item.keys() & _METHODS:
                yield path, method, item[method]

    def find(self, method: str, path: str) -> dict[str, Any]:
        """The operation of a concrete path below the version. A path without variables wins."""
        found = [
            (template.count("{"), template, operation)
            for template, known, operation in self.operations()
            if known == method.lower() and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path)
        ]
        assert found, f"no {method} {path}"
        return min(found, key=lambda each: each[:2])[2]

    def parameters(self, method: str, path: str) -> dict[str, dict[str, Any]]:
        return {parameter["name"]: parameter for parameter in self.find(method, path)["parameters"]}

    def resolve(self, part: dict[str, Any]) -> dict[str, Any]:
        """The part itself, or what it refers to."""
        for key in part.get("$ref", "").removeprefix("#/").split("/") if "$ref" in part else ():
            part = (self.whole if "$ref" in part else part)[key]
        return part

    def validator(self, schema: dict[str, Any], *, closed: bool = False) -> Draft202012Validator:
        """`closed` finds what the schema does not describe, too, where it would allow it."""
        schemas = self.whole["components"]["schemas"]
        if closed:
            schemas = {name: _closed(known) for name, known in schemas.items()}
        whole = schema | {"$id": _BASE, "components": {"schemas": schemas}}
        return Draft202012Validator(whole, format_checker=_FORMATS)

    def problems_of_request(self, method: str, path: str, body: Any) -> list[str]:
        """What the operation's schema has against the body."""
        schema = self.find(method, path)["requestBody"]["content"]["application/json"]["schema"]
        return [error.message for error in self.validator(schema).iter_errors(body)]

    def problems_of_answer(self, method: str, path: str, status: int, body: Any) -> list[str]:
        """The same of an answer, which must hold nothing that is not described."""
        response = self.resolve(self.find(method, path)["responses"][str(status)])
        schema = response["content"]["application/json"]["schema"]
        return [error.message for error in self.validator(schema, closed=True).iter_errors(body)]


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    inner = {key: _closed(value) for key, value in schema.items()}
    return {"additionalProperties": False} | inner if isinstance(schema.get("properties"), dict) else inner
