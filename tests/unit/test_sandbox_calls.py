"""The sandbox's own record of every push request, refused ones and unanswered ones too."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sandbox.calls import CallLog, Witness
from sandbox.ledger import Ledger, Provider
from sandbox.wire import Answer, Fault, Limits, Link, Reply, Request, Scripted, Session

APNS, FCM = b"/3/device/AB12", b"/v1/projects/p/messages:send"
MESSAGE = b'{"message": {"token": "t1", "data": {"pharosPushId": "id1"}}}'


class Vendor:
    """Answers as it is told, and takes what it answers with 200."""

    limits = Limits(max_header_list=8000, max_body=8000)
    initial_streams = 7

    def __init__(self, ledger: Ledger, answer: Answer, *, takes: bool = False) -> None:
        self._ledger, self._answer, self._takes = ledger, answer, takes

    def session(self, link: Link, certificate_uid: str | None) -> Session:  # noqa: ARG002 - as every vendor
        return self

    def on_connect(self) -> Scripted | None:
        return None

    def answer(self, request: Request) -> Answer:
        if self._takes:
            self._ledger.accept(Provider.FCM, "t1", "m", headers=request.headers, body=request.body, push_id=b"id1")
        return self._answer


class Streams:
    def allow_streams(self, limit: int) -> None: ...


@pytest.fixture
def log(tmp_path: Path) -> Iterator[CallLog]:
    with closing(CallLog(tmp_path / "calls")) as log:
        yield log


def noted(tmp_path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]


def ask(
    log: CallLog, answer: Answer, request: Request, provider: Provider = Provider.FCM, *, takes: bool = False
) -> None:
    ledger = Ledger()
    session = Witness(Vendor(ledger, answer, takes=takes), provider, ledger, log).session(Streams(), None)
    assert session.initial_streams == 7
    assert session.answer(request) == answer, "the caller is answered as without it"


def request(path: bytes = FCM, body: bytes = MESSAGE, **headers: bytes) -> Request:
    return Request(
        b"POST", path, {name.replace("_", "-").encode(): value for name, value in headers.items()}, frozenset(), body
    )


def test_a_push_that_was_taken(tmp_path: Path, log: CallLog) -> None:
    ask(log, Reply(200), request(), takes=True)
    [call] = noted(tmp_path)
    assert call.pop("at") > 0
    assert call == {
        "provider": "FCM",
        "token": "t1",
        "pushId": "id1",
        "status": 200,
        "fault": None,
        "taken": True,
        "retryAfter": None,
        "delay": 0.0,
    }


def test_a_refusal_with_its_patience(tmp_path: Path, log: CallLog) -> None:
    ask(log, Reply(429, ((b"retry-after", b"7"),)), request(APNS, b"{}", apns_id=b"i"), Provider.APN)
    [call] = noted(tmp_path)
    assert (call["token"], call["pushId"], call["status"], call["retryAfter"]) == ("ab12", "i", 429, 7.0)
    assert not call["taken"]


@pytest.mark.parametrize("takes", [True, False])
def test_a_push_without_an_answer(tmp_path: Path, log: CallLog, *, takes: bool) -> None:
    ask(log, Scripted(fault=Fault.CUT, processed=takes), request(), takes=takes)
    [call] = noted(tmp_path)
    assert (call["status"], call["fault"], call["taken"]) == (None, "cut", takes)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"message": 1}', b'{"message": {"data": 1}}', b"\xff"])
def test_a_malformed_push_is_a_call_too(tmp_path: Path, log: CallLog, body: bytes) -> None:
    ask(log, Reply(400), request(body=body))
    [call] = noted(tmp_path)
    assert (call["token"], call["pushId"], call["status"]) == ("", "", 400)


def test_other_requests_are_no_calls(tmp_path: Path, log: CallLog) -> None:
    ask(log, Reply(200), request(b"/token"))
    assert noted(tmp_path) == []


def test_it_goes_on_with_what_an_earlier_sandbox_wrote(tmp_path: Path, log: CallLog) -> None:
    ask(log, Reply(200), request())
    with closing(CallLog(tmp_path / "calls")) as later:
        ask(later, Reply(500), request())
    assert [call["status"] for call in noted(tmp_path)] == [200, 500]
