"""Subscribers of the status stream, as the documentation has them, on the live stack."""

from __future__ import annotations

import json

from tests.acceptance.programs import pharos
from tests.acceptance.stack import Stack
from tests.unit.client.documented import program_of, run_program


def _send(stack: Stack, *tokens: str) -> str:
    recipients = (word for token in tokens for word in ("--to", f"fcm:{token}"))
    sent = pharos("send", *recipients, "--body", "Hello", env=stack.variables)
    assert sent.returncode == 0, sent.stderr
    return sent.stdout.strip()


async def test_the_documented_program_follows_a_send(stack: Stack) -> None:
    operation_id = _send(stack, "live-program", "unregistered-program")

    said = await run_program(program_of("status_stream.md"), operation_id, env=stack.variables)

    assert sorted(said.splitlines()) == ["0 SENT ", "1 FAILED UNREGISTERED"]


def test_watch_writes_json_and_says_whether_all_were_sent(stack: Stack) -> None:
    operation_id = _send(stack, "live-json", "unregistered-json")

    watched = pharos("watch", operation_id, "--json", "--exit-status", env=stack.variables)

    assert watched.returncode == 3, watched.stderr
    lines = [json.loads(line) for line in watched.stdout.splitlines()]
    final = {
        recipient["recipientIndex"]: recipient["status"]
        for line in lines
        for recipient in line["data"].get("recipients", ())
    }
    assert final == {0: "SENT", 1: "FAILED"}
    assert lines[-1]["event"] == "end"
    assert lines[-1]["data"]["operation"]["stats"]["sent"] == 1


def test_watch_goes_on_behind_a_line(stack: Stack) -> None:
    operation_id = _send(stack, "live-resumed")
    whole = pharos("watch", operation_id, "--json", env=stack.variables)
    *_, before_end, end = (json.loads(line) for line in whole.stdout.splitlines())

    resumed = pharos(
        *("watch", operation_id, "--json", "--resume-token", before_end["resumeToken"]), env=stack.variables
    )

    assert [json.loads(line) for line in resumed.stdout.splitlines()] == [end]


def test_watch_follows_push_notifications_to_their_end(stack: Stack) -> None:
    operation_id = _send(stack, "live-watched", "unregistered-watched")
    whole = pharos("watch", operation_id, "--json", env=stack.variables)
    recipients = [each for line in whole.stdout.splitlines() for each in json.loads(line)["data"].get("recipients", ())]
    notifications = {each["recipientIndex"]: each["pushNotificationId"] for each in recipients}

    watched = pharos(
        *("watch", "--notification", notifications[0], "--notification", notifications[1]), env=stack.variables
    )

    assert watched.returncode == 0, watched.stderr
    *told, end = watched.stdout.splitlines()
    assert told == [f"{notifications[0]} SENT", f"{notifications[1]} FAILED UNREGISTERED"]
    assert end.startswith(f"{operation_id} COMPLETED")


def test_watch_leaves_out_what_is_not_asked_for(stack: Stack) -> None:
    operation_id = _send(stack, "live-filtered", "unregistered-filtered")

    watched = pharos("watch", operation_id, "--status", "failed", "--exit-status", env=stack.variables)

    assert watched.returncode == 3, watched.stderr
    failed, end = watched.stdout.splitlines()
    assert failed.split()[1:] == ["FAILED", "UNREGISTERED"]
    assert end == f"{operation_id} COMPLETED  recipients 2  sent 1  failed 1"
