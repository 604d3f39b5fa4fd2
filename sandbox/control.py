"""The control port, plain HTTP: what was accepted, and how to behave.

GET    /healthz
GET    /ledger            a JSON array of every accepted push; ?token= keeps those to one device
GET    /ledger/summary    accepted, rejected and duplicates, by provider and in total
DELETE /ledger            forget them all
GET    /rules             the rules in force, with how often each matched and was applied
PUT    /rules             replace them, see sandbox.rules
DELETE /rules             back to plain behaviour
DELETE /tokens            refuse every OAuth access token issued so far
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import parse_qs

import msgspec

from sandbox.ledger import Ledger
from sandbox.oauth import AccessTokens
from sandbox.rules import RuleError, Rules
from sandbox.wire import Answer, Limits, Link, Reply, Request, Scripted, Session

_TYPE = (b"content-type", b"application/json")
_OK = Reply(200, (_TYPE,), b'{"status":"ok"}')
_DONE = Reply(204)
_MAX_RULES_BODY = 1 << 20


class Control:
    """A vendor like the others, to its listener."""

    initial_streams = 100
    limits = Limits(max_header_list=65_536, max_body=_MAX_RULES_BODY)

    def __init__(self, ledger: Ledger, rules: Rules, tokens: AccessTokens) -> None:
        self._ledger = ledger
        self._rules = rules
        self._tokens = tokens
        self._routes: dict[tuple[bytes, bytes], Callable[[Request], Reply]] = {
            (b"GET", b"/healthz"): lambda _: _OK,
            (b"GET", b"/ledger"): self._get_ledger,
            (b"GET", b"/ledger/summary"): self._get_summary,
            (b"DELETE", b"/ledger"): self._clear_ledger,
            (b"GET", b"/rules"): self._get_rules,
            (b"PUT", b"/rules"): self._put_rules,
            (b"DELETE", b"/rules"): self._clear_rules,
            (b"DELETE", b"/tokens"): self._revoke_tokens,
        }

    def session(self, link: Link, certificate_uid: str | None) -> Session:  # noqa: ARG002 - as every vendor
        return self

    def on_connect(self) -> Scripted | None:
        return None

    def answer(self, request: Request) -> Answer:
        path = request.path.partition(b"?")[0]
        route = self._routes.get((request.method, path))
        if route is not None:
            return route(request)
        if any(path == known for _, known in self._routes):
            return _error(405, "method not allowed")
        return _error(404, "no such path")

    def _get_ledger(self, request: Request) -> Reply:
        query = parse_qs(request.path.partition(b"?")[2].decode("latin-1"))
        token = query.get("token", [None])[0]
        return Reply(200, (_TYPE,), self._ledger.to_json(token))

    def _get_summary(self, _request: Request) -> Reply:
        return Reply(200, (_TYPE,), msgspec.json.encode(self._ledger.summary()))

    def _clear_ledger(self, _request: Request) -> Reply:
        self._ledger.clear()
        return _DONE

    def _get_rules(self, _request: Request) -> Reply:
        return Reply(200, (_TYPE,), self._rules.to_json())

    def _put_rules(self, request: Request) -> Reply:
        if len(request.body) > _MAX_RULES_BODY:
            return _error(413, "the rules are too large")
        try:
            self._rules.load(request.body)
        except RuleError as error:
            return _error(400, str(error))
        return _DONE

    def _clear_rules(self, _request: Request) -> Reply:
        self._rules.clear()
        return _DONE

    def _revoke_tokens(self, _request: Request) -> Reply:
        self._tokens.revoke_all()
        return _DONE


def _error(status: int, text: str) -> Reply:
    return Reply(status, (_TYPE,), msgspec.json.encode({"error": text}))
