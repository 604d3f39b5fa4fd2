"""Sends that wait for their time, and sends that are called off, over REST against the running service."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.acceptance.documented import UNKNOWN_SUFFIX, fetch, id_in, last_event
from tests.acceptance.sandbox_port import SandboxPort

CONTENT = {"body": "Hello"}


def _tokens(name: str, count: int) -> list[dict[str, str]]:
    return [{"token": f"{name}-{number}", "provider": "FCM"} for number in range(count)]


def _in(**wait: float) -> dict[str, str]:
    at = datetime.now(UTC) + timedelta(**wait)
    return {"sendAt": at.isoformat(timespec="milliseconds").replace("+00:00", "Z")}


async def _accept(rest: httpx.AsyncClient, **body: Any) -> str:
    accepted = await rest.post("/v1/PushNotifications", json={"content": CONTENT, **body})
    assert accepted.status_code == 202, accepted.text
    location: str = accepted.headers["location"]
    return location


async def test_a_scheduled_send_goes_out_at_its_time(rest: httpx.AsyncClient, sandbox: SandboxPort) -> None:
    schedule = _in(seconds=2)
    location = await _accept(rest, to=_tokens("later", 2), schedule=schedule)
    operation = await fetch(rest, location)
    assert (operation["status"], operation["stats"]["scheduled"], operation["stats"]["queued"]) == ("SCHEDULED", 2, 0)
    listed = await fetch(rest, f"/v1/PushNotifications?operationId={id_in(location)}")
    assert [each["status"] for each in listed["notifications"]] == ["SCHEDULED"] * 2

    assert await last_event(rest, f"{location}/Events") == "end"

    pushes = await sandbox.pushes(["later-0", "later-1"])
    due = datetime.fromisoformat(schedule["sendAt"])
    assert [len(got) for got in pushes.values()] == [1, 1]
    assert all(due <= push.at < due + timedelta(seconds=20) for got in pushes.values() for push in got)
    assert (await fetch(rest, location))["status"] == "COMPLETED"


@pytest.mark.parametrize(("days", "status"), [(34.9, 202), (35.1, 400)])
async def test_a_send_may_wait_35_days(rest: httpx.AsyncClient, days: float, status: int) -> None:
    body = {"to": _tokens("far", 1), "content": CONTENT, "schedule": _in(days=days)}
    answer = await rest.post("/v1/PushNotifications", json=body)
    assert answer.status_code == status
    if status == 400:
        assert [error["context"] for error in answer.json()["errors"]] == ["$.schedule.sendAt"]
    else:
        assert (await rest.post(f"{answer.headers['location']}/Cancel")).status_code == 202


async def test_a_canceled_schedule_sends_nothing(rest: httpx.AsyncClient, sandbox: SandboxPort, version: str) -> None:
    name = f"never-{version[1:]}"
    location = await _accept(rest, to=_tokens(name, 3), schedule=_in(days=1))

    canceled = await rest.post(f"{location.replace('/v1/', f'{version}/')}/Cancel")

    assert canceled.status_code == 202
    assert canceled.json() == {"operationId": id_in(location), "operationLocation": location}
    operation = await fetch(rest, location)
    assert (operation["status"], operation["stats"]["canceled"], operation["stats"]["total"]) == ("CANCELED", 3, 3)
    listed = await fetch(rest, f"/v1/PushNotifications?operationId={id_in(location)}")
    assert [each["status"] for each in listed["notifications"]] == ["CANCELED"] * 3
    assert (await fetch(rest, f"{location}/Errors"))["errors"] == []
    assert await sandbox.pushes(each["token"] for each in _tokens(name, 3)) == {}
    assert (await rest.post(f"{location}/Cancel")).status_code == 202, "again is no error"


async def test_a_running_send_is_called_off(rest: httpx.AsyncClient, sandbox: SandboxPort) -> None:
    """Every recipient is canceled or went out, and none is both."""
    to = _tokens("running", 10_000)
    location = await _accept(rest, to=to)

    canceled = await rest.post(f"{location}/Cancel")

    assert canceled.status_code == 202
    assert await last_event(rest, f"{location}/Events") == "end"
    operation = await fetch(rest, location)
    stats = operation["stats"]
    assert operation["status"] == "CANCELED"
    assert stats["canceled"] > 0
    pushes = await sandbox.pushes(each["token"] for each in to)
    assert (stats["sent"] + stats["canceled"], stats["sent"]) == (10_000, len(pushes))


async def test_what_is_complete_can_not_be_canceled(rest: httpx.AsyncClient) -> None:
    location = await _accept(rest, to=_tokens("done", 1))
    await last_event(rest, f"{location}/Events")

    refused = await rest.post(f"{location}/Cancel")

    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (409, 20409)
    unknown = await rest.post(f"/v1/PushNotifications/Operations/comms_operation_{UNKNOWN_SUFFIX}/Cancel")
    assert unknown.status_code == 404
    with_body = await rest.post(f"{location}/Cancel", json={"reason": "x"})
    assert with_body.status_code == 400, "it takes no body"


async def test_an_app_keeps_daily_totals(rest: httpx.AsyncClient) -> None:
    async def today() -> dict[str, int]:
        days: list[dict[str, int]] = (await fetch(rest, "/v1/PushNotifications/Apps/test_app/Stats"))["days"]
        return days[-1] if days else {}

    before = await today()
    to = [*_tokens("counted", 1), {"token": "unregistered-counted", "provider": "FCM"}]
    await last_event(rest, f"{await _accept(rest, to=to)}/Events")
    location = await _accept(rest, to=_tokens("uncounted", 4), schedule=_in(days=1))
    await rest.post(f"{location}/Cancel")

    after = await today()

    changed = {name: after[name] - before.get(name, 0) for name in ("sent", "failed", "canceled")}
    assert changed == {"sent": 1, "failed": 1, "canceled": 4}
