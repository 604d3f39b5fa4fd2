"""The OpenAPI document and the running service: thousands of requests made from it, every answer judged by it."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import schemathesis
from schemathesis.core.failures import Failure
from schemathesis.core.transport import Response
from schemathesis.engine import events, from_schema
from schemathesis.openapi.checks import EnsureResourceAvailability, RejectedPositiveData, UseAfterFree

from tests.acceptance.stack import Stack

_SEED = 7
_EXAMPLES = 40  # requests that are made up for one operation, besides those at the edges of its schema
_AT_LEAST = 2_000

# What a schema can't say: why a request that fits it may be refused all the same. Operation, JSON path, message.
_BEYOND_SCHEMA = tuple(
    re.compile(pattern)
    for pattern in (
        r"\w+ \S+ The character U\+0000 is not allowed",
        r"(?:Get|List)\w+ \$\.pageToken is not a page token",
        r"WatchDeliveryStatus2? - Last-Event-ID: it is not a token",
        r"WatchDeliveryStatus2 - Only one of \w+(?:, \w+)+ may be given",
        r"(?:WatchDeliveryStatus2|CreateStreamToken) \$ (?:watch )?these push notifications or another scope, not both",
        r"\w+ \$\S*\.(?:appName|operationId|userId|user|fcm|apn) (?:there is no such \w+|names nothing that exists)",
        r"\w+ \$\S*\.token must be hexadecimal for APN",
        r"SendPushNotification \$\.content\.body is required, unless it is a silent push",
        r"SendPushNotification \$\.image line 1, column 1: must be an https URL with a host",
        r"RegisterDevice \$\.userId the user was deleted",
        r"List\w+ \$\.endDate must be later than the start",
        r"\w+ \$\.\w+ Expected `int`, got `float`",  # 1.0 is an integer in JSON Schema
        r"(?:Create|Update)Credential \$\.content\.\w+ .+",  # keys, certificates and what goes with them
        r"UpdateCredential \$\.isDefault is required where content is not given",
        r"Update\w+ \$\.isDefault this is the default \w+: make another one the default instead",
        r"SendPushNotification \$\.to\[\d+\]\.provider the app has no \w+ credential",
        r"SendPushNotification \$\.schedule\.sendAt is more than 35 days ahead",
        r"SendPushNotification \$\.overrides\.\w+ .+",
        r"DeleteDeviceRegistration \$\.\w+ is required with a \w+",
        r"List\w+ \$\.\w+Date Out of range",  # the first and last days of the calendar, in zones where they are others
        r"ListPushNotifications \$\.tags .+",  # pairs, and no key twice
        r"CreateWebhook \$\.url (?:is not a URL|must|has no valid host|names an address|the account has 10 webhooks).*",
        r"GetAppStats \$\.\w+ .+",  # days that no calendar has, and stretches too long
    )
)


@dataclass
class Run:
    """What came of it."""

    statuses: Counter[int] = field(default_factory=Counter)
    accepted: set[str] = field(default_factory=set)
    failures: list[str] = field(default_factory=list)
    checks: set[str] = field(default_factory=set)

    def record(self, finished: events.ScenarioFinished) -> None:
        recorder = finished.recorder
        for case_id, interaction in recorder.interactions.items():
            if interaction.response is None:
                self.failures.append(f"{recorder.label}: no answer")
                continue
            self.statuses[interaction.response.status_code] += 1
            if interaction.response.status_code < 300:
                self.accepted.add(_operation(recorder.cases[case_id].value))
        for case_id, checks in recorder.checks.items():
            self.checks |= {check.name for check in checks}
            self.failures += [
                f"{recorder.label}: {check.failure_info.failure}\n{check.failure_info.code_sample}\n"
                f"{_answer(recorder.interactions.get(case_id))}"
                for check in checks
                if check.failure_info is not None
            ]


@pytest.fixture(scope="module")
def shop(stack: Stack) -> Stack:
    """An account of its own, whose app is the one in the document's examples."""
    own = stack.with_new_account()
    own.upload_credentials("shop")
    return own


@pytest.mark.timeout(300)
def test_thousands_of_requests_made_from_the_document_are_answered_as_it_says(shop: Stack) -> None:
    run = Run()
    for event in _events(shop):
        assert not isinstance(event, events.NonFatalError | events.FatalError), event
        if isinstance(event, events.ScenarioFinished):
            run.record(event)
    assert not run.failures, "\n\n".join(run.failures[:10])
    assert run.statuses.total() >= _AT_LEAST
    assert run.checks >= {
        "not_a_server_error",
        "response_schema_conformance",
        "negative_data_rejection",
        "ignored_auth",
    }
    assert run.accepted >= {"SendPushNotification", "RegisterDevice", "GetOperation", "GetApp", "WatchDeliveryStatus"}


class _Registrations:
    """Which registrations may be gone by now, as the contract has it: their token was registered anew and has moved to
    a new user, or something that they belong to was deleted."""

    def __init__(self) -> None:
        self.gone: set[str] = set()
        self._by_token: dict[str, str] = {}

    def note(self, case: schemathesis.Case, response: Response) -> None:
        operation = _operation(case)
        if operation == "RegisterDevice" and response.status_code == 202:
            made, token = response.json()["resourceId"], case.body["token"].lower()
            self.gone |= {self._by_token.get(token, made)} - {made}
            self._by_token[token] = made
        elif operation.startswith("Delete") and response.status_code == 202:
            self.gone.update(self._by_token.values())


def _is_failure(failure: Failure, case: schemathesis.Case, response: Response, gone: set[str]) -> bool:
    """Whether a check's finding is one: not a refusal for a reason beyond the schema, nor what isn't there any more."""
    if isinstance(failure, UseAfterFree):
        return not _operation(case).startswith("GetUser")  # a deleted user is still fetched, with the time of deletion
    if isinstance(failure, EnsureResourceAvailability):
        return case.path_parameters.get("deviceRegistrationId") not in gone
    if isinstance(failure, RejectedPositiveData) and response.status_code == 400:
        return not all(_is_beyond_schema(_operation(case), error) for error in response.json()["errors"])
    return True


def _events(shop: Stack) -> Iterator[Any]:
    account = f"{shop.variables['PHAROS_ACCOUNT_ID']}:{shop.variables['PHAROS_AUTH_TOKEN']}"
    config = schemathesis.Config.from_dict(
        {
            "seed": _SEED,
            "headers": {"Authorization": f"Basic {base64.b64encode(account.encode()).decode()}"},
            "request-timeout": 30,
            "max-stream-events": 1,
            "continue-on-failure": True,
            "generation": {"max-examples": _EXAMPLES, "deterministic": True, "no-shrink": True},
        }
    )
    schema = schemathesis.openapi.from_url(f"{shop.url}/openapi.json", config=config)
    registrations = _Registrations()

    @schema.hook
    def after_call(_: Any, case: schemathesis.Case, response: Response) -> None:
        registrations.note(case, response)
        if _operation(case) == "DeleteCredential" and response.status_code == 202:
            shop.upload_credentials("shop", "FCM")  # with its last one the app goes, and with it most of what is tried

    @schema.hook
    def filter_failure(_: Any, failure: Failure, case: schemathesis.Case, response: Response) -> bool:
        return _is_failure(failure, case, response, registrations.gone)

    return from_schema(schema).execute()


def _operation(case: schemathesis.Case) -> str:
    name: str = case.operation.definition.raw["operationId"]
    return name


def _is_beyond_schema(operation: str, error: dict[str, Any]) -> bool:
    said = f"{operation} {error['context'] or '-'} {error['message']}"
    return any(pattern.fullmatch(said) for pattern in _BEYOND_SCHEMA)


def _answer(interaction: Any) -> str:
    if interaction is None or interaction.response is None:
        return "no answer"
    return f"{interaction.response.status_code} {interaction.response.content[:500]!r}"
