from __future__ import annotations

from typing import Any

import pytest

from client.watch_options import WatchOptions
from client.watch_views import AccountLines, JsonLines, OperationLines, RecipientLines


@pytest.mark.parametrize(
    ("options", "view"),
    [
        ({"operation_id": "o"}, OperationLines),
        ({"operation_id": "o", "statuses": ["FAILED"]}, RecipientLines),
        ({"operation_id": "o", "snapshot": False}, RecipientLines),
        ({"account": True}, AccountLines),
        ({"account": True, "reasons": ["UNREGISTERED"]}, RecipientLines),
        ({"app_name": "shop"}, AccountLines),
        ({"app_name": "shop", "providers": ["APN"]}, RecipientLines),
        ({"user_id": "u"}, RecipientLines),
        ({"notifications": ["n"]}, RecipientLines),
        ({"user_id": "u", "as_json": True}, JsonLines),
    ],
)
def test_only_what_can_be_counted_is_counted(options: dict[str, Any], view: type) -> None:
    assert type(WatchOptions(**options).view()) is view


def test_an_app_of_an_empty_name_is_not_the_account() -> None:
    assert WatchOptions(app_name="").request().WhichOneof("scope") == "app_name"
