"""aioapns, with nothing changed but where APNs is and how TLS is spoken to it."""

from __future__ import annotations

import logging
import ssl
import uuid
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aioapns
import aioapns.logging
from aioapns.connection import APNsDevelopmentClientProtocol

from sandbox.identity import APNS_KEY_ID, APNS_TEAM_ID
from tests.benchmarks.clients import driving
from tests.benchmarks.clients.driving import Client, Job


@asynccontextmanager
async def client(job: Job) -> Client[aioapns.NotificationRequest]:
    """One connection, so that its cost is compared and not its pool's."""
    APNsDevelopmentClientProtocol.APNS_SERVER = "localhost"
    APNsDevelopmentClientProtocol.APNS_PORT = job.port
    aioapns.logging.logger.setLevel(logging.CRITICAL)  # it warns of every wait for the one connection
    tls = ssl.create_default_context(cafile=job.ca_file)
    tls.set_alpn_protocols(["h2"])  # it offers none, as APNs wants none; nginx would speak HTTP/1.1
    apns = aioapns.APNs(
        key=_text(job.apns_p8_file),
        key_id=APNS_KEY_ID,
        team_id=APNS_TEAM_ID,
        topic=job.topic,
        max_connections=1,
        use_sandbox=True,
        ssl_context=tls,
    )

    async def send(request: aioapns.NotificationRequest) -> bool:
        return (await apns.send_notification(request)).is_successful

    yield [_request(job, number, token) for number, token in enumerate(driving.device_tokens(job.pushes))], send
    apns.pool.close()


def _text(file: str) -> str:
    return Path(file).read_text()


def _request(job: Job, number: int, token: str) -> aioapns.NotificationRequest:
    return aioapns.NotificationRequest(
        device_token=token, message=_message(job, number), priority=10, push_type=aioapns.PushType.ALERT
    )


def _message(job: Job, number: int) -> dict[str, Any]:
    if job.like_pharos:
        alert = {"title": f"Hi Ada {number}", "body": f"Your order A-{number:05} is on its way."}
        return {"aps": {"alert": alert}, "pharosPushId": str(uuid.uuid4())}
    return {"aps": {"alert": {"title": "Hello", "body": f"Number {number:08}".ljust(243, "x")}}}


if __name__ == "__main__":
    driving.main(client)
