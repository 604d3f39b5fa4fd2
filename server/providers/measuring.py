"""What a push would be to its provider, without sending it."""

from __future__ import annotations

import time

from server.domain.outcomes import Rejected
from server.domain.pushes import Measured, Provider, Push
from server.domain.reasons import Reason
from server.providers.apns import message as apns
from server.providers.fcm import message as fcm


def measure(provider: Provider, push: Push) -> Measured | Rejected:
    """Return the message with its size, or the refusal of what has no form at all."""
    try:
        return _fcm(push) if provider is Provider.FCM else _apn(push)
    except UnicodeEncodeError:
        return Rejected(Reason.PAYLOAD_REJECTED, "INVALID_UNICODE", called=False)


def _fcm(push: Push) -> Measured:
    message, body = fcm.compose(push, push.at.timestamp() if push.at else time.time())
    return Measured(fcm.counted_bytes(message), fcm.LARGEST_PAYLOAD, body)


def _apn(push: Push) -> Measured:
    body = apns.payload(push)
    return Measured(len(body), apns.LARGEST_PAYLOAD, body)
