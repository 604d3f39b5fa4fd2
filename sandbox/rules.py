"""Scripted behaviour, by device-token prefix: what ``PUT /rules`` takes.

The body is a JSON array of rules, which replaces the rules before it. For every push (or token request, or new
connection) the first rule that matches decides; when none does, the vendor answers as it would. A rule:

    {"provider": "APN",          "FCM" or "APN"; absent: both
     "on": "push",               "push" (default), "token" (an OAuth token request), "connect" (before SETTINGS)
     "token": "ab12",            prefix of the device token; absent or "": every push
     "skip": 2,                  let so many matches pass first
     "times": 3,                 then apply so often; absent: for ever
     "latencyMs": 50, "jitterMs": 20,          answer so much later
     "status": 503, "headers": {"retry-after": "7"}, "body": {"reason": "Shutdown"},
     "fault": "goaway",          instead of an answer: stall, cut, reset, refuse, goaway
     "goaway": {"code": 0, "debug": "text", "drain": true},
     "processed": true,          the push is checked and, if accepted, is in the ledger before the fault or status
     "maxStreams": 10}           announce this stream limit before the answer

``body`` is a JSON value, or a string which is sent as it is (an HTML page of a proxy). With ``"processed": false``, the
default, nothing reached the provider: a GOAWAY's last stream id is below the push. With true the id includes it, and it
is still answered if the connection drains. A rule with neither status nor fault leaves the vendor's own answer and only
delays it or changes the stream limit. On "connect" only faults are possible.
"""

from __future__ import annotations

import random
from typing import Annotated, Any, Literal

import msgspec

from sandbox.fields import check_field
from sandbox.ledger import Provider
from sandbox.wire import Fault, GoAway, Reply, Scripted

Occasion = Literal["push", "token", "connect"]
Count = Annotated[int, msgspec.Meta(ge=0)]


class RuleError(ValueError):
    """The rules are not of the documented shape; the text says where."""


class GoAwaySpec(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """A GOAWAY frame: RFC 9113 error code, debug data, and whether open streams are still answered."""

    code: Annotated[int, msgspec.Meta(ge=0, le=0xFFFFFFFF)] = 0
    debug: str = ""
    drain: bool = True


class Rule(msgspec.Struct, rename="camel", forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One rule; the module's text explains the fields."""

    provider: Provider | None = None
    on: Occasion = "push"
    token: str = ""
    skip: Count = 0
    times: Count | None = None
    latency_ms: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    jitter_ms: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    status: Annotated[int, msgspec.Meta(ge=200, le=599)] | None = None
    headers: dict[str, str] = {}
    body: Any = None
    fault: Fault | None = None
    goaway: GoAwaySpec = msgspec.field(default_factory=GoAwaySpec)
    processed: bool = False
    max_streams: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] | None = None

    def __post_init__(self) -> None:
        if self.status is not None and self.fault is not None:
            raise ValueError("a rule has a status or a fault, not both")
        if self.on == "connect" and self.fault is None:
            raise ValueError("a rule on connect needs a fault")
        for name, value in self.headers.items():
            check_field(name.lower().encode("latin-1"), value.encode("latin-1"))

    @property
    def decides(self) -> bool:
        """Whether the rule takes the vendor's own answer away."""
        return self.status is not None or self.fault is not None

    @property
    def needs_verdict(self) -> bool:
        """Whether the vendor has to look at the request at all."""
        return self.processed or not self.decides

    def scripted(self, reply: Reply | None) -> Scripted:
        """The rule as an answer; ``reply`` is the vendor's own, used when the rule brings none."""
        if self.status is not None:
            reply = self._reply(self.status)
        return Scripted(
            reply=reply if self.fault in (None, Fault.GOAWAY) else None,
            delay=(self.latency_ms + random.uniform(0, self.jitter_ms)) / 1000,  # noqa: S311 - no secret hangs on jitter
            fault=self.fault,
            goaway=GoAway(self.goaway.code, self.goaway.debug.encode(), self.goaway.drain),
            processed=self.needs_verdict,
            max_streams=self.max_streams,
        )

    def _reply(self, status: int) -> Reply:
        headers = {name.lower().encode("latin-1"): value.encode("latin-1") for name, value in self.headers.items()}
        if self.body is None:
            return Reply(status, tuple(headers.items()))
        text = isinstance(self.body, str)
        headers.setdefault(b"content-type", b"text/html; charset=UTF-8" if text else b"application/json")
        return Reply(status, tuple(headers.items()), self.body.encode() if text else msgspec.json.encode(self.body))


class _Armed:
    """A rule and how often it matched and was applied."""

    __slots__ = ("applied", "matched", "rule")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self.matched = 0
        self.applied = 0

    def take(self) -> bool:
        self.matched += 1
        if self.matched <= self.rule.skip:
            return False
        if self.rule.times is not None and self.applied >= self.rule.times:
            return False
        self.applied += 1
        return True


class Rules:
    """The rules in force. ``active`` is False while there are none, which keeps them off the hot path."""

    def __init__(self) -> None:
        self._armed: list[_Armed] = []
        self.active = False

    def replace(self, *rules: Rule) -> None:
        """Puts these rules in place of all others, their counters at zero."""
        self._armed = [_Armed(rule) for rule in rules]
        self.active = bool(rules)

    def load(self, document: bytes) -> None:
        """Replaces the rules by a JSON array of rules. Raises RuleError and changes nothing if it is not one."""
        try:
            rules = msgspec.json.decode(document, type=list[Rule])
        except (msgspec.MsgspecError, UnicodeError) as error:
            raise RuleError(str(error)) from error
        self.replace(*rules)

    def clear(self) -> None:
        """Back to the plain mode."""
        self.replace()

    def find(self, provider: Provider, occasion: Occasion, token: str = "") -> Rule | None:
        """The rule that applies now, and counts it; None if the vendor is left alone."""
        for armed in self._armed:
            rule = armed.rule
            meant = rule.on == occasion and rule.provider in (None, provider) and token.startswith(rule.token)
            if meant and armed.take():
                return rule
        return None

    def to_json(self) -> bytes:
        """The rules with ``matched`` and ``applied``, as ``GET /rules`` shows them."""
        shown = [
            {**msgspec.to_builtins(armed.rule), "matched": armed.matched, "applied": armed.applied}
            for armed in self._armed
        ]
        return msgspec.json.encode(shown)
