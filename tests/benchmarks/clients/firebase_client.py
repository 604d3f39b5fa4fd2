"""firebase-admin's asynchronous sending, with nothing changed but where FCM is and whom TLS trusts."""

from __future__ import annotations

import asyncio
import os
import sys
import time
import warnings

import firebase_admin
import firebase_admin.credentials
import msgspec
from firebase_admin import messaging

from tests.benchmarks.clients import driving
from tests.benchmarks.clients.driving import Job, Report

_LARGEST_BATCH = 500  # send_each_async takes no more, and has all of them in flight


def main() -> None:
    job = msgspec.json.decode(sys.argv[1], type=Job)
    warnings.filterwarnings("ignore", "Message.token is deprecated", DeprecationWarning)
    for variable in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        os.environ[variable] = job.ca_file
    # The one place where its endpoint stands.
    messaging._MessagingService.FCM_URL = job.url + "/v1/projects/{0}/messages:send"  # noqa: SLF001
    app = firebase_admin.initialize_app(firebase_admin.credentials.Certificate(job.fcm_key_file))
    print(msgspec.json.encode(asyncio.run(_run(job, app))).decode())


async def _run(job: Job, app: firebase_admin.App) -> Report:
    messages = [_message(number, token) for number, token in enumerate(driving.fcm_tokens(job.pushes))]
    first = await messaging.send_each_async(messages[:1], app=app)
    answers = list(first.responses)
    before, began = driving.cpu_seconds(), time.monotonic()
    for start in range(1, len(messages), _LARGEST_BATCH):
        batch = await messaging.send_each_async(messages[start : start + _LARGEST_BATCH], app=app)
        answers += batch.responses
    used, wall = driving.cpu_seconds() - before, time.monotonic() - began
    await messaging._get_messaging_service(app)._async_client.aclose()  # noqa: SLF001 - its close() wants its own loop
    accepted = sum(answer.success for answer in answers)
    rejected = sum(_is_rejected(answer) for answer in answers)
    return Report(used, len(answers) - 1, accepted, rejected, len(answers) - accepted - rejected, wall)


def _is_rejected(answer: messaging.SendResponse) -> bool:
    error = answer.exception
    return error is not None and getattr(error, "http_response", None) is not None


def _message(number: int, token: str) -> messaging.Message:
    if token == "invalid":
        return messaging.Message(token=token)
    shown = messaging.Notification(title="Hello", body="Your order is on its way")
    return messaging.Message(token=token, notification=shown, data={"n": f"{number:08}".ljust(70, "x")})


if __name__ == "__main__":
    main()
