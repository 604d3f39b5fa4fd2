"""Signatures, held against the example of the specification and its arithmetic done by hand."""

from __future__ import annotations

import base64
import hashlib
import hmac
from datetime import UTC, datetime, timedelta, timezone

from server.webhooks.signing import signed_headers

# https://github.com/standard-webhooks/standard-webhooks: what the tests of its reference implementations sign.
_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
_AT = datetime.fromtimestamp(1614265330, UTC)
_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
_BODY = b'{"test": 2432232314}'
_SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_the_example_of_the_specification() -> None:
    assert signed_headers([_SECRET], _ID, _AT, _BODY) == {
        "webhook-id": _ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": _SIGNATURE,
    }


def test_the_time_is_the_same_in_every_zone() -> None:
    elsewhere = _AT.astimezone(timezone(timedelta(hours=5)))
    assert signed_headers([_SECRET], _ID, elsewhere, _BODY) == signed_headers([_SECRET], _ID, _AT, _BODY)


def test_each_secret_signs_what_is_sent() -> None:
    secrets = ["whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2)]
    body = '{"name":"Zoë"}'.encode()
    expected = [
        base64.b64encode(hmac.digest(bytes([n]) * 32, b"id.1614265330." + body, hashlib.sha256)).decode()
        for n in (1, 2)
    ]
    headers = signed_headers(secrets, "id", _AT, body)
    assert headers["webhook-signature"] == f"v1,{expected[0]} v1,{expected[1]}"
