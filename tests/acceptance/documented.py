"""What the tests of the documented API say over and over, and what they expect of ids and times."""

from __future__ import annotations

import re
from typing import Any

import httpx

USER_ID = r"comms_pushnotificationuser_[0-7][a-hjkmnpqrstv-z0-9]{25}"
REGISTRATION_ID = r"comms_device_registration_[a-hjkmnpqrstv-z0-9]{26,34}"
CREDENTIAL_ID = r"comms_credential_[a-hjkmnpqrstv-z0-9]{26,34}"
OPERATION_ID = r"comms_operation_[0-7][a-hjkmnpqrstv-z0-9]{25}"
NOTIFICATION_ID = r"comms_pushnotification_[0-7][a-hjkmnpqrstv-z0-9]{25}"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"

# The token of the documents' samples.
TOKEN = (
    "odJFCrnl2edlBDdz1C5Ja:APA91bu2RJtBRnlWmTSHf6pWkLUyifDLkDmWJ6UuVTAIjvFu7WICPhDeOZIiBOB-Y6sHrFH2ZUCr-lgotu2iXW7GboI"
    "RoL3u6aHwnMztVuaP_coUNEhEkk_iqq8vH2BzNZV45pFCiRcD"
)
UNKNOWN_SUFFIX = "01h9krwprkeee8fzqspvwy6nq8"


async def register(rest: httpx.AsyncClient, token: str, version: str = "/v1", **fields: str) -> dict[str, Any]:
    """Registers an FCM device under test_app and fetches what the answer points at."""
    body = {"token": token, "appName": "test_app", "provider": "FCM", **fields}
    accepted = await rest.post(f"{version}/PushNotifications/DeviceRegistrations", json=body)
    assert accepted.status_code == 202, accepted.text
    return await fetch(rest, accepted.headers["location"])


async def fetch(rest: httpx.AsyncClient, url: str) -> dict[str, Any]:
    response = await rest.get(url)
    assert response.status_code == 200, response.text
    document: dict[str, Any] = response.json()
    return document


async def send(rest: httpx.AsyncClient, body: dict[str, Any], version: str = "/v1") -> str:
    """Sends; the operation's URL once everything is final."""
    accepted = await rest.post(f"{version}/PushNotifications", json=body)
    assert accepted.status_code == 202, accepted.text
    said = accepted.json()
    assert re.fullmatch(OPERATION_ID, said["operationId"])
    location = str(rest.base_url.join(f"/v1/PushNotifications/Operations/{said['operationId']}"))
    assert said == {"operationId": said["operationId"], "operationLocation": location}
    assert accepted.headers["location"] == location
    assert await last_event(rest, f"{location}/Events") == "end"
    return location


async def last_event(rest: httpx.AsyncClient, url: str) -> str:
    """The name of the last event of a stream that ends by itself."""
    async with rest.stream("GET", url) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        names = [line async for line in response.aiter_lines() if line.startswith("event: ")]
    return names[-1].removeprefix("event: ")


def id_in(location: str) -> str:
    return location.rpartition("/")[2]
