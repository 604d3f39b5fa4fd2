"""Carries a case out against a running service."""

from __future__ import annotations

import asyncio
import json
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx

from tests.acceptance.sandbox_port import SandboxPort
from tests.conformance.cases import METHODS, Case
from tests.conformance.matching import differences

_VARIABLE = re.compile(r"\$\{(\w+(?::-?\w+)?)\}")
_PATIENCE = 60.0  # seconds for the events of a step
_MOST_PAGES = 100  # of a list that is read to its end
_LONG = re.compile(r"\$\{(\w)\*(\d+)\}")
_AHEAD = re.compile(r"(-?\d+)([sdmh])")
_DAYS = re.compile(r"(-?\d+)d")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_STEP_OF_PATH = re.compile(r"\.(\w+)|\[(\d+)\]")


@dataclass
class Run:
    """One case under one version. ``accounts`` are the account that asks and another one."""

    http: httpx.AsyncClient
    sandbox: SandboxPort
    version: str
    accounts: tuple[httpx.BasicAuth, httpx.BasicAuth]
    variables: dict[str, Any] = field(default_factory=dict)

    async def carry_out(self, case: Case) -> None:
        for number, step in enumerate(case.steps, 1):
            for n in range(step.get("times", 1)):
                problems = await self._step(_filled(step, {**self.variables, "n": n}))
                assert not problems, "\n".join([f"{case.name}\nstep {number}, n = {n}: {step}", *problems])

    async def _step(self, step: dict[str, Any]) -> list[str]:
        if "finish" in step:
            return await self._finish(step["finish"])
        if "pushes" in step:
            return await self._pushes(step["pushes"])
        if "rules" in step:
            await self.sandbox.set_rules(*step["rules"])
            return []
        if "messages" in step:
            return await self._messages(step["messages"])
        patience = time.monotonic() + step.get("within", 0)
        response, problems = await self._exchange(step)
        while problems and time.monotonic() < patience:
            await asyncio.sleep(0.1)  # it is another process that has to come to this state
            response, problems = await self._exchange(step)
        if not problems:
            for name, path in step.get("save", {}).items():
                self.variables[name] = _at(path, response.json())
        return [*problems, f"the answer was {response.status_code} {response.text[:2000]}"] if problems else []

    async def _exchange(self, step: dict[str, Any]) -> tuple[httpx.Response, list[str]]:
        """Sends the request, or so many equal ones; the first answer, and what is wrong with any of them."""
        send = self._to_the_end if "walk" in step else self._request
        responses = await asyncio.gather(*(send(step) for _ in range(step.get("at_once", 1))))
        return responses[0], [problem for each in responses for problem in _problems(step, each)]

    async def _request(self, step: dict[str, Any]) -> httpx.Response:
        request = self._built(step)
        response = await self.http.send(request, auth=self._auth(step.get("send", {}).get("auth")), stream=True)
        try:
            if "events" in step and response.is_success:
                async with asyncio.timeout(_PATIENCE):
                    return await _events(response, step["events"])
            await response.aread()
        finally:
            await response.aclose()
        return response

    async def _to_the_end(self, step: dict[str, Any]) -> httpx.Response:
        """All pages of a list from the first to the last, as one answer that has all elements and counts the pages."""
        elements: list[Any] = []
        query = step.get("send", {}).get("query", {})
        for pages in range(1, _MOST_PAGES + 1):
            response = await self._request({**step, "send": {**step.get("send", {}), "query": query}})
            if not response.is_success:
                return response
            page = response.json()
            elements.extend(page[step["walk"]])
            query = {**query, "pageToken": page["pagination"]["next"]}
            if query["pageToken"] is None:
                document = {step["walk"]: elements, "pages": pages}
                return httpx.Response(response.status_code, headers=response.headers, json=document)
        raise AssertionError(f"after {_MOST_PAGES} pages the list has no end")

    def _built(self, step: dict[str, Any]) -> httpx.Request:
        [method] = step.keys() & set(METHODS)
        send = step.get("send", {})
        headers = dict(send.get("headers", {}))
        content = send.get("text")
        if "json" in send:
            content = json.dumps(send["json"])
        if content is not None:
            headers.setdefault("Content-Type", "application/json")
        return self.http.build_request(
            method, self._url(step[method]), content=content, headers=headers, params=send.get("query")
        )

    def _url(self, path: str) -> str:
        """Paths are written without the version; those of the service's own pages, and absolute URLs, have none."""
        return path if path.startswith(("http", "/docs", "/openapi", "/healthz", "/readyz")) else self.version + path

    def _auth(self, auth: Any) -> httpx.Auth | None:
        match auth:
            case None:
                return self.accounts[0]
            case "other":
                return self.accounts[1]
            case "none":
                return None
            case [user, password]:
                return httpx.BasicAuth(user, password)
        raise ValueError(f"auth: {auth}")

    async def _finish(self, operation: str) -> list[str]:
        """Reads the operation's events to their end."""
        url = f"/v1/PushNotifications/Operations/{operation}/Events"
        async with self.http.stream("GET", url, auth=self.accounts[0]) as response:
            lines = [line async for line in response.aiter_lines()]
        return [] if "event: end" in lines else [f"{operation} has not ended: {response.status_code} {lines[-3:]}"]

    async def _pushes(self, expected: Mapping[str, Any]) -> list[str]:
        found = await self.sandbox.pushes(expected)
        texts = {token: sorted(push.text for push in found.get(token, ())) for token in expected}
        wanted = {token: sorted(bodies) for token, bodies in expected.items()}  # nobody promises an order
        return list(differences(wanted, texts, path="pushes"))

    async def _messages(self, expected: Mapping[str, Any]) -> list[str]:
        """Compares whole messages, of which a case names the members that matter to it."""
        found = await self.sandbox.pushes(expected)
        sent = {
            token: [{"provider": push.provider, "headers": push.headers, "body": push.body} for push in pushes]
            for token, pushes in found.items()
        }
        return list(differences(dict(expected), sent, more=True, path="messages"))


async def _events(response: httpx.Response, wanted: int | str) -> httpx.Response:
    """The stream's first events, or all to its end, as an answer whose body is a list of them.

    Checkpoints are left out: they come when nothing else does, so nobody can say how many.
    """
    found: list[dict[str, Any]] = []
    event: dict[str, Any] = {}
    async for line in response.aiter_lines():
        name, _, value = line.partition(": ")
        if name in ("event", "id", "data"):
            event[name] = json.loads(value) if name == "data" else value
        elif not line and event:
            found.extend([event] if event["event"] != "checkpoint" else [])
            event = {}
        if len(found) == wanted:
            break
    return httpx.Response(response.status_code, headers=response.headers, json=found)


def _problems(step: Mapping[str, Any], response: httpx.Response) -> list[str]:
    found = []
    if response.status_code != step["status"]:
        found.append(f"expected the status {step['status']}")
    body = _body(response)
    for key, more in (("json", False), ("contains", True)):
        if key in step:
            found.extend(differences(step[key], body, more=more))
    if "errors" in step:
        found.extend(_error_problems(step, body))
    for name, expected in step.get("headers", {}).items():
        value = response.headers.get(name)
        if expected == "<absent>":
            found.extend([f"{name}: was not expected, and is {value!r}"] if value is not None else [])
        else:
            found.extend(differences(expected, value, path=name))
    seen = f"{response.headers} {response.text}"
    found.extend(f"the answer has {text[:20]}..." for text in step.get("lacks", ()) if text in seen)
    if "x-request-id" not in response.headers:
        found.append("every answer has an X-Request-Id")
    return found


def _error_problems(step: Mapping[str, Any], body: Any) -> list[str]:
    status = step["status"]
    code = step.get("code", 20001 if status == 400 else 20000 + status)
    code = {20401: 20003}.get(code, code)
    errors = [{"code": code, "message": "<text>", "infoUrl": "<url>", "context": context} for context in step["errors"]]
    if isinstance(body, dict) and isinstance(body.get("errors"), list):
        body = {**body, "errors": sorted(body["errors"], key=lambda error: str(error.get("context")))}
        errors.sort(key=lambda error: str(error["context"]))
    return list(differences({"errors": errors, "status": status}, body))


def _body(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return response.text


def _filled(value: Any, variables: Mapping[str, Any]) -> Any:
    """The value with variables for their names; one that is nothing but a variable keeps the variable's type."""
    match value:
        case str():
            value = _LONG.sub(lambda found: found[1] * int(found[2]), value)
            whole = _VARIABLE.fullmatch(value)
            if whole is not None:
                return _variable(whole[1], variables)
            return _VARIABLE.sub(lambda found: str(_variable(found[1], variables)), value)
        case {"repeat": each, "times": times} if len(value) == 2:
            return [_filled(each, {**variables, "n": number}) for number in range(times)]
        case dict():
            return {_filled(name, variables): _filled(inner, variables) for name, inner in value.items()}
        case list():
            return [_filled(inner, variables) for inner in value]
    return value


def _variable(name: str, variables: Mapping[str, Any]) -> Any:
    if name == "new":
        return secrets.token_hex(16)
    name, _, part = name.partition(":")
    if name == "in":
        return _from_now(part)
    days = _DAYS.fullmatch(part)
    if days is not None:
        return str(date.fromisoformat(variables[name]) + timedelta(days=int(days[1])))
    return variables[name].rpartition("_")[2] if part else variables[name]


def _from_now(ahead: str) -> str:
    found = _AHEAD.fullmatch(ahead)
    assert found is not None, f"${{in:{ahead}}} is no time"
    when = datetime.now(UTC) + timedelta(**{_UNITS[found[2]]: int(found[1])})
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _at(path: str, document: Any) -> Any:
    for step in _STEP_OF_PATH.finditer(path):
        document = document[step[1]] if step[1] else document[int(step[2])]
    return document
