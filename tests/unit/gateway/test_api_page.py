"""docs/api.md has every endpoint of the contract and nothing else, and leads to all cases of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from gateway.contract import Binding, Rpc, Variable, read_contract
from gateway.schema import json_fields
from tests.conformance.cases import FOLDER, all_cases

PAGE = Path(__file__).parents[3] / "docs/api.md"
_ROW = re.compile(r"^\| `([A-Z]+ /\S*)` \| (.+?) \| (\d+)\b.* \| (.+) \|$", re.MULTILINE)
_LINK = re.compile(r"\]\(([^)#]+)\)")
_ENDPOINT = re.compile(r"[A-Z]+ /")


def test_the_table_has_the_endpoints_of_the_contract_and_nothing_else() -> None:
    assert sorted(row[1] for row in _rows()) == sorted(_endpoints())


def test_each_row_has_the_status_of_the_contract() -> None:
    endpoints = _endpoints()
    assert {row[1]: int(row[3]) for row in _rows()} == {
        name: rpc.rest.success_status or 200 for name, rpc in endpoints.items()
    }


def test_every_row_leads_to_cases_about_it() -> None:
    abouts = {case.file: case.about for case in all_cases()}
    for row in _rows():
        files = [Path(link).stem for link in _LINK.findall(row[4])]
        about = [abouts.get(name, "") for name in files]
        assert row[1] in about or _alias(row[1]) in about, f"none of {files} is about {row[1]}"


def test_every_link_leads_somewhere() -> None:
    missing = [link for link in _links() if not (PAGE.parent / link).exists()]
    assert not missing


def test_every_file_of_cases_is_linked() -> None:
    linked = {(PAGE.parent / link).resolve() for link in _links()}
    assert not [path.name for path in FOLDER.glob("cases/*.yaml") if path.resolve() not in linked]


def test_every_endpoint_that_cases_are_about_is_in_the_contract() -> None:
    about = {case.about for case in all_cases() if _ENDPOINT.match(case.about)}
    assert about
    assert not about - _endpoints().keys()


def _rows() -> list[re.Match[str]]:
    return list(_ROW.finditer(_text()))


def _alias(endpoint: str) -> str:
    """The first binding of the same RPC, which is what its cases are about."""
    endpoints = _endpoints()
    return next(name for name, rpc in endpoints.items() if rpc is endpoints.get(endpoint))


def _links() -> list[str]:
    return [link for link in _LINK.findall(_text()) if not link.startswith("http")]


def _text() -> str:
    return PAGE.read_text("utf-8")


def _endpoints() -> dict[str, Rpc]:
    """Every binding as the page writes it: method and path without the version, variables by their JSON names."""
    return dict(_named())


def _named() -> Iterator[tuple[str, Rpc]]:
    for rpc in read_contract():
        names = {field.proto.name: field.name for field in json_fields(rpc.method.input_type)}
        for binding in rpc.bindings:
            yield _name(binding, names), rpc


def _name(binding: Binding, names: dict[str, str]) -> str:
    parts = [f"{{{names[part.field]}}}" if isinstance(part, Variable) else part for part in binding.segments[1:]]
    return f"{binding.http_method} /{'/'.join(parts)}"
