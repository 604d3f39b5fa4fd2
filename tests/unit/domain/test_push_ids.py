"""A push's id is a version 5 UUID by RFC 9562, so another version of the server makes the same one for a retry."""

from __future__ import annotations

import uuid

import hypothesis.strategies as st
from hypothesis import given

from server.domain.ids import notification_uuid
from server.domain.pushes import Provider, push_id

OPERATIONS = st.uuids().map(lambda each: uuid.UUID(int=each.int >> 14 << 14))


@given(OPERATIONS, st.integers(0, 16_383), st.sampled_from(Provider), st.text(st.characters(exclude_categories=["Cs"])))
def test_it_is_the_notifications_uuid_with_the_device_as_name(
    operation: uuid.UUID, index: int, provider: Provider, token: str
) -> None:
    found = push_id(operation, index, provider, token)
    assert found == uuid.uuid5(notification_uuid(operation, index), f"{provider.value}:{token}")
    assert found.version == 5
