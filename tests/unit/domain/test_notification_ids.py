"""A notification's id is computed from its operation and index, and leads back to them."""

from __future__ import annotations

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from server.domain import ids
from server.domain.ids import Kind

_operations = st.integers(min_value=0, max_value=(1 << 114) - 1).map(lambda high: UUID(int=high << 14))
_indexes = st.integers(min_value=0, max_value=(1 << 14) - 1)


@given(_operations, _indexes)
def test_it_leads_back(operation: UUID, index: int) -> None:
    notification = ids.notification_uuid(operation, index)
    text = ids.encode(Kind.NOTIFICATION, notification)
    assert ids.notification_encoder(operation)(index) == text
    decoded = ids.decode(Kind.NOTIFICATION, text)
    assert decoded is not None
    assert ids.split_notification(decoded) == (operation, index)


@given(_operations, _indexes, _operations, _indexes)
def test_two_recipients_never_share_one(first: UUID, i: int, second: UUID, j: int) -> None:
    same = ids.notification_uuid(first, i) == ids.notification_uuid(second, j)
    assert same == ((first, i) == (second, j))


@given(_operations, _indexes)
def test_it_lies_in_its_operations_daily_partition(operation: UUID, index: int) -> None:
    """Partitions are bounded by UUIDs that are whole days in the first 48 bits and zero below."""
    assert ids.notification_uuid(operation, index).int >> 80 == operation.int >> 80


@given(st.uuids())
def test_any_uuid_that_a_caller_makes_up_names_some_place(made_up: UUID) -> None:
    operation, index = ids.split_notification(made_up)
    assert ids.notification_uuid(operation, index) == made_up
