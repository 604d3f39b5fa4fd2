"""What callers see of apps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import grpc
import pytest

if TYPE_CHECKING:
    from tests.conftest import Caller, Refuse


async def test_an_app_is_fetched_by_its_name(with_app: Caller) -> None:
    app = await with_app.app("default")
    assert app.name == "default"
    assert app.is_default
    assert len(app.default_credentials) == 1
    assert app.created_at.seconds > 0


async def test_an_unknown_app_is_not_found(with_app: Caller, refusal: Refuse) -> None:
    refused = await refusal(with_app.app("nowhere"))
    assert (refused.code, refused.reason) == (grpc.StatusCode.NOT_FOUND, "NOT_FOUND")


@pytest.mark.parametrize("name", ["", "No", "a/b", "x" * 65])
async def test_a_malformed_name_is_refused(api: Caller, refusal: Refuse, name: str) -> None:
    refused = await refusal(api.app(name))
    assert refused.code is grpc.StatusCode.INVALID_ARGUMENT
    assert list(refused.fields) == ["app_name"]
