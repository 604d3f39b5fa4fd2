"""Variables that nest deeper than a JSON reader goes are nobody's failure but the recipient's own, at every stage."""

from __future__ import annotations

import pytest
from pharos.push.v1 import push_notifications_pb2 as pb
from pharos.push.v1 import types_pb2

from server.api import notification_messages, sends
from server.domain.errors import Invalid
from server.domain.operations import Recipient, Status
from server.domain.pushes import Provider
from server.domain.reasons import Reason
from server.rendering.renderer import Renderer
from server.store.notifications import Notifications
from tests.integration.dispatch.workers import Workers
from tests.integration.store.sending import Sending, eventually

_DEEP = '{"name":' + "[" * 5_000 + "]" * 5_000 + "}"


def test_they_are_refused_with_the_field_named() -> None:
    recipient = types_pb2.Recipient(token="t", provider=types_pb2.PROVIDER_FCM, variables_json=_DEEP.encode())
    with pytest.raises(Invalid) as caught:
        sends.recipients(pb.SendPushNotificationRequest(to=[recipient]))
    assert [violation.field for violation in caught.value.violations] == ["to[0].variables_json"]


@pytest.mark.usefixtures("quick")
async def test_i12_accepted_all_the_same_they_fail_alone_and_can_be_looked_at(
    sending: Sending, workers: Workers
) -> None:
    """The reader that accepted them may have had more room than the worker's."""
    to = [
        Recipient(token="bad", provider=Provider.FCM, variables=_DEEP),
        Recipient(token="good", provider=Provider.FCM, variables='{"name":"Ada"}'),
    ]
    operation = await sending.accept(to)
    workers.start()
    await eventually(lambda: sending.completed(operation))
    assert await sending.ends(operation) == {0: (Status.FAILED, Reason.RENDER_ERROR), 1: (Status.SENT, Reason.NONE)}
    read = [await Notifications(sending.database).get(sending.account, operation, index) for index in range(2)]
    shown = [notification_messages.full(each, Renderer()) for each in read if each is not None]
    assert [each.HasField("content") for each in shown] == [False, True]
    assert shown[1].content.body == "Hello Ada"
