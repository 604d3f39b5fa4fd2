"""Ids: what we emit is what we read, and nothing else is taken for one."""

from __future__ import annotations

import re
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.domain import ids
from server.domain.ids import Kind

_FORMS = {
    Kind.USER: r"comms_pushnotificationuser_[0-7][a-hjkmnpqrstv-z0-9]{25}",
    Kind.DEVICE_REGISTRATION: r"comms_device_registration_[a-hjkmnpqrstv-z0-9]{26,34}",
    Kind.CREDENTIAL: r"comms_credential_[a-hjkmnpqrstv-z0-9]{26,34}",
    Kind.NOTIFICATION: r"comms_pushnotification_[0-7][a-hjkmnpqrstv-z0-9]{25}",
    Kind.OPERATION: r"comms_operation_[0-7][a-hjkmnpqrstv-z0-9]{25}",
    Kind.WEBHOOK: r"comms_webhook_[a-hjkmnpqrstv-z0-9]{26,34}",
    Kind.WEBHOOK_DELIVERY: r"comms_webhook_delivery_[a-hjkmnpqrstv-z0-9]{26,34}",
    Kind.ACCOUNT: r"AC[0-9a-f]{32}",
    Kind.API_KEY: r"SK[0-9a-f]{32}",
}


@given(st.uuids(), st.sampled_from(Kind))
def test_an_id_has_the_documented_form_and_leads_back(value: UUID, kind: Kind) -> None:
    text = ids.encode(kind, value)
    assert re.fullmatch(_FORMS[kind], text)
    assert ids.decode(kind, text) == value


def test_an_id_is_a_type_id() -> None:
    # https://github.com/jetify-com/typeid/blob/main/spec/valid.yml, "uuidv7"
    value = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
    assert ids.encode(Kind.CREDENTIAL, value) == "comms_credential_01h455vb4pex5vsknk084sn02q"


@given(st.uuids())
def test_both_forms_of_a_user_id_are_the_same_user(value: UUID) -> None:
    suffix = ids.encode(Kind.USER, value).rpartition("_")[2]
    assert ids.decode(Kind.USER, f"comms_user_{suffix}") == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "comms_credential_",
        "comms_credential_01h455vb4pex5vsknk084sn02",
        "comms_credential_01h455vb4pex5vsknk084sn02qq",
        "comms_credential_81h455vb4pex5vsknk084sn02q",
        "comms_credential_01h455vb4pex5vsknk084sn02u",
        "comms_credential_01H455VB4PEX5VSKNK084SN02Q",
        "comms_operation_01h455vb4pex5vsknk084sn02q",
        "01h455vb4pex5vsknk084sn02q",
    ],
)
def test_anything_else_names_nothing(text: str) -> None:
    assert ids.decode(Kind.CREDENTIAL, text) is None


@pytest.mark.parametrize("text", ["AC", "AC" + "0" * 31, "AC" + "0" * 33, "AC" + "G" * 32, "SK" + "0" * 32])
def test_an_account_id_is_exact(text: str) -> None:
    assert ids.decode(Kind.ACCOUNT, text) is None


@given(st.integers(0, (1 << 114) - 1), st.integers(0, (1 << 14) - 1))
def test_a_notification_leads_to_its_operation_and_index(high: int, index: int) -> None:
    operation = UUID(int=high << 14)
    assert ids.split_notification(ids.notification_uuid(operation, index)) == (operation, index)
