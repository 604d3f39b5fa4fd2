"""The lines of `pharos watch --json` say the same as the REST API's events."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from pharos.push.v1.delivery_status_pb2 import RecipientStatus, StatusChanges, WatchDeliveryStatusResponse
from pharos.push.v1.types_pb2 import DeliveryStatus

from client.json_lines import json_line
from gateway.encode import encoder
from tests.contract.messages import filled

CASES = tuple(WatchDeliveryStatusResponse.DESCRIPTOR.oneofs_by_name["message"].fields)


@pytest.mark.parametrize("make", [filled, lambda kind: GetMessageClass(kind)()], ids=["full", "empty"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_data_of_each_kind_of_message_is_that_of_the_event(
    case: FieldDescriptor, make: Callable[[Descriptor], Any]
) -> None:
    assert case.message_type is not None
    message = WatchDeliveryStatusResponse(resume_token="t")
    getattr(message, case.name).CopyFrom(make(case.message_type))

    line = json.loads(json_line(message))

    event = msgspec.json.decode(msgspec.json.encode(encoder(case.message_type)(getattr(message, case.name), "")))
    assert line == {"event": case.name, "resumeToken": "t", "data": event}


def test_a_message_is_one_line() -> None:
    recipient = RecipientStatus(operation_id="two\nlines ü", status=DeliveryStatus.DELIVERY_STATUS_SENT)
    line = json_line(WatchDeliveryStatusResponse(changes=StatusChanges(recipients=[recipient])))

    assert "\n" not in line
    assert json.loads(line)["data"]["recipients"][0]["operationId"] == "two\nlines ü"


def test_a_message_that_is_not_known_here_still_has_its_token() -> None:
    assert json.loads(json_line(WatchDeliveryStatusResponse(resume_token="t"))) == {
        "event": "unknown",
        "resumeToken": "t",
        "data": {},
    }
