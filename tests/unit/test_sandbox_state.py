"""The sandbox's memory: the ledger counts exactly, the rules apply as often as they say."""

from __future__ import annotations

import json

import pytest

from sandbox.flaky import Flaky
from sandbox.ledger import Ledger, Provider
from sandbox.rules import RuleError, Rules
from sandbox.wire import Fault, GoAway, Reply


def accept(ledger: Ledger, token: str, push_id: bytes | None, provider: Provider = Provider.APN) -> None:
    headers = {b"authorization": b"bearer secret", b"apns-topic": b"t"}
    ledger.accept(provider, token, "id", headers=headers, body=b'{"a": [1]}', push_id=push_id)


def counts(ledger: Ledger, who: str) -> tuple[int, int, int]:
    found = ledger.summary()[who]
    return found.accepted, found.rejected, found.duplicates


def test_a_record_holds_what_was_sent_but_no_credential() -> None:
    ledger = Ledger()
    accept(ledger, "ab", b"1")
    (entry,) = ledger.entries()
    assert entry.pop("at").endswith("Z")
    assert entry == {
        "provider": "APN",
        "token": "ab",
        "messageId": "id",
        "headers": {"apns-topic": "t"},
        "body": {"a": [1]},
    }


def test_duplicates_are_counted_by_push_id_and_provider() -> None:
    ledger = Ledger()
    for push_id in (b"1", b"2", b"1", b"1", None, None):
        accept(ledger, "ab", push_id)
    accept(ledger, "x", b"9", Provider.FCM)
    ledger.reject(Provider.FCM)
    assert counts(ledger, "APN") == (6, 0, 2)
    assert counts(ledger, "FCM") == (1, 1, 0)
    assert counts(ledger, "total") == (7, 1, 2)


def test_thousands_of_records_keep_their_order_and_can_be_found_by_token() -> None:
    ledger = Ledger()
    for number in range(3000):
        accept(ledger, f"{number:04}", b"%d" % number)
    assert [record.token for record in ledger.records()] == [f"{number:04}" for number in range(3000)]
    assert len(ledger.entries("0042")) == 1


def test_a_cleared_ledger_knows_no_duplicates() -> None:
    ledger = Ledger()
    accept(ledger, "ab", b"1")
    ledger.clear()
    accept(ledger, "ab", b"1")
    assert counts(ledger, "total") == (1, 0, 0)
    assert len(ledger.entries()) == 1


def test_a_flaky_token_fails_twice_for_every_push_of_its_own() -> None:
    flaky = Flaky()
    assert [flaky.fails("t", push) for push in (b"a", b"b", b"a", b"b", b"a", b"b", b"a")] == [
        True, True, True, True, False, False, True,
    ]  # fmt: skip


def test_the_first_rule_that_still_applies_decides() -> None:
    rules = Rules()
    rules.load(
        b"""[
        {"provider": "APN", "token": "ab", "skip": 1, "times": 1, "status": 503},
        {"token": "ab", "times": 1, "status": 500}
        ]"""
    )
    seen = [rules.find(Provider.APN, "push", token) for token in ("abcd", "cdcd", "abcd", "abff")]
    assert [rule and rule.status for rule in seen] == [500, None, 503, None]
    shown = json.loads(rules.to_json())
    assert [(rule["matched"], rule["applied"]) for rule in shown] == [(3, 1), (2, 1)]


def test_a_rule_becomes_an_answer() -> None:
    rules = Rules()
    rules.load(
        b"""[{"status": 429, "headers": {"Retry-After": "7"}, "body": {"reason": "x"}, "latencyMs": 20, "times": 1},
             {"status": 502, "body": "<html>Bad Gateway</html>", "times": 1},
             {"fault": "goaway", "goaway": {"code": 2, "debug": "bye", "drain": false}, "processed": true}]"""
    )
    first, second, third = (rules.find(Provider.FCM, "push") for _ in range(3))
    assert first is not None
    assert second is not None
    assert third is not None
    scripted = first.scripted(None)
    assert scripted.delay == pytest.approx(0.02)
    assert scripted.reply == Reply(
        429, ((b"retry-after", b"7"), (b"content-type", b"application/json")), b'{"reason":"x"}'
    )
    html = second.scripted(None).reply
    assert html is not None
    assert html.body == b"<html>Bad Gateway</html>"
    goaway = third.scripted(Reply(200))
    assert (goaway.fault, goaway.goaway, goaway.processed) == (Fault.GOAWAY, GoAway(2, b"bye", drain=False), True)


@pytest.mark.parametrize(
    "document",
    [
        b"{}",
        b"[",
        b'[{"tokn": "ab"}]',
        b'[{"fault": "explode"}]',
        b'[{"status": 200, "fault": "cut"}]',
        b'[{"on": "connect", "status": 200}]',
        b'[{"times": -1}]',
        b'[{"status": 200, "headers": {"bad name": "x"}}]',
        b'[{"status": 200, "headers": {"x": "a\\r\\nb: c"}}]',
        b"\xff",
    ],
)
def test_rules_of_another_shape_are_refused_and_change_nothing(document: bytes) -> None:
    rules = Rules()
    rules.load(b'[{"status": 500}]')
    with pytest.raises(RuleError):
        rules.load(document)
    assert rules.find(Provider.APN, "push") is not None
