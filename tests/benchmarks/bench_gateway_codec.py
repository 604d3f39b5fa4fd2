"""CPU time of the gateway's JSON codec: a send to 10,000 recipients in, a page of 1,000 notifications out.

And of recognising that send by its request key, in the server.

Run: python tests/benchmarks/bench_gateway_codec.py
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import msgspec
from google.protobuf.timestamp_pb2 import Timestamp
from pharos.push.v1 import push_notifications_pb2, types_pb2

from gateway.decode import BodyDecoder
from gateway.encode import encoder
from server.api.calls import Call, current_call
from server.api.requests import request_key

_ROUNDS = 21


def _send_body() -> bytes:
    recipients = [
        {
            "userId": f"comms_pushnotificationuser_0{number:025d}",
            "variables": {"name": f"Ada {number}", "city": "Paris", "order": f"A-{number:05d}", "sum": "12.50", "x": 1},
        }
        for number in range(10_000)
    ]
    return json.dumps({"to": recipients, "content": {"title": "Hi {{ name }}", "body": "Order {{ order }}"}}).encode()


def _page() -> push_notifications_pb2.ListPushNotificationsResponse:
    now = Timestamp(seconds=1_800_000_000)
    notification = push_notifications_pb2.PushNotification(
        id="comms_pushnotification_01h2xcejqtf2nbrexx3vqjhp41",
        sender=push_notifications_pb2.Sender(fcm="comms_credential_01h2xcejqtf2nbrexx3vqjhp41"),
        to=types_pb2.Recipient(token="t" * 163, provider=types_pb2.PROVIDER_FCM, variables_json=b'{"name":"Ada"}'),
        status=types_pb2.DELIVERY_STATUS_SENT,
        priority=push_notifications_pb2.PRIORITY_HIGH,
        sound="default",
        created_at=now,
        updated_at=now,
        operation_id="comms_operation_01h2xcejqtf2nbrexx3vqjhp41",
        tags={"campaign": "spring"},
    )
    return push_notifications_pb2.ListPushNotificationsResponse(notifications=[notification] * 1000)


def _cpu_ms(work: Callable[[], Any]) -> float:
    """Median CPU time of one call, in ms."""
    times = []
    for _ in range(_ROUNDS):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times) * 1000


def main() -> None:
    body, page = _send_body(), _page()
    decoder = BodyDecoder(push_notifications_pb2.SendPushNotificationRequest.DESCRIPTOR)
    encode = encoder(page.DESCRIPTOR)
    decoding = _cpu_ms(lambda: push_notifications_pb2.SendPushNotificationRequest(**decoder.decode(body)))
    send = push_notifications_pb2.SendPushNotificationRequest(**decoder.decode(body), request_id="key")
    current_call.set(Call("/method", ""))
    recognising = _cpu_ms(lambda: request_key(send))
    encoding = _cpu_ms(lambda: msgspec.json.encode(encode(page, "https://push.example")))
    sys.stdout.write(f"decode 10,000 recipients ({len(body) / 1e6:.2f} MB) into the message: {decoding:.1f} ms CPU\n")
    sys.stdout.write(f"fingerprint of its canonical form, for a request key: {recognising:.1f} ms CPU\n")
    sys.stdout.write(f"encode a page of 1,000 notifications: {encoding:.1f} ms CPU\n")


if __name__ == "__main__":
    main()
