"""The OpenAPI document: valid, whole, in words, and true of the requests and answers that the gateway really has."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import protovalidate
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message_factory import GetMessageClass
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from gateway.contract import Binding, Rpc, Variable, read_contract
from gateway.openapi import describe
from tests.contract.document import Document
from tests.contract.gateway_upstream import OPERATION, USER, Upstream, rest
from tests.contract.messages import bare, filled
from tests.contract.test_gateway_routes import ROUTES

RPCS = {rpc.method.name: rpc for rpc in read_contract()}
DOCUMENT = Document(describe(read_contract(), ""))


async def test_it_is_served_to_everybody_and_is_valid(client: httpx.AsyncClient) -> None:
    response = await client.get("/openapi.json", auth=httpx.Auth())
    assert response.status_code == 200
    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == DOCUMENT.whole
    validate(response.json())
    for schema in DOCUMENT.whole["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize(("public_url", "servers"), [("", ["/v1", "/preview"]), ("https://p.example/x", None)])
async def test_its_servers_are_where_the_gateway_is(
    upstream: Upstream, public_url: str, servers: list[str] | None
) -> None:
    async with rest(upstream.target, public_url=public_url) as client:
        document = (await client.get("/openapi.json")).json()
    expected = servers or [f"{public_url}/v1", f"{public_url}/preview"]
    assert [server["url"] for server in document["servers"]] == expected


def test_it_has_every_route_of_the_contract_and_nothing_else() -> None:
    expected = {(binding.http_method, _path(binding)) for _, binding in _bindings()}
    assert {(method.upper(), f"/v1{path}") for path, method, _ in DOCUMENT.operations()} == expected


def test_every_documented_route_is_in_it() -> None:
    for method, path, rpc, _ in ROUTES:
        assert DOCUMENT.find(method, f"/PushNotifications{path}")["operationId"] == rpc


def test_operation_ids_and_parameters_are_unique() -> None:
    ids = [operation["operationId"] for _, _, operation in DOCUMENT.operations()]
    assert len(ids) == len(set(ids))
    for _, _, operation in DOCUMENT.operations():
        names = [(parameter["in"], parameter["name"]) for parameter in operation["parameters"]]
        assert len(names) == len(set(names))


def test_everything_has_a_description() -> None:
    for path, method, operation in DOCUMENT.operations():
        assert operation["summary"], (method, path)
        assert operation["description"], (method, path)
        assert all(parameter["description"] for parameter in operation["parameters"]), (method, path)
    for name, schema in DOCUMENT.whole["components"]["schemas"].items():
        assert schema["description"], name
        for key, inner in _properties(schema):
            assert inner.get("description") or inner == {"type": "null"}, (name, key)
    assert all(tag["description"] for tag in DOCUMENT.whole["tags"])


def test_descriptions_use_the_names_that_rest_has() -> None:
    text = str(DOCUMENT.whole)
    assert "`page_token`" not in text
    assert "`pageToken`" in text
    assert not re.findall(r"`\w+_(?:id|key|token|available)`", text)


def test_every_request_body_has_an_example_that_fits() -> None:
    bodies = [operation["requestBody"] for _, _, operation in DOCUMENT.operations() if "requestBody" in operation]
    assert len(bodies) == 9
    for body in bodies:
        media = body["content"]["application/json"]
        DOCUMENT.validator(media["schema"]).validate(media["example"])


SEND = ("POST", "/PushNotifications")
REGISTER = ("POST", "/PushNotifications/DeviceRegistrations")
UPLOAD = ("POST", "/PushNotifications/Credentials")
FCM = {"token": "t", "provider": "FCM"}


@pytest.mark.parametrize(
    ("route", "body"),
    [
        (SEND, {"to": [FCM]}),
        (SEND, {"to": [{"userId": USER, "variables": {"a": [1, {"b": None}]}}]}),
        (SEND, {"to": [FCM | {"userId": None, "variables": None}], "content": None, "sound": None, "tags": None}),
        (SEND, {"to": [FCM], "priority": "LOW", "interruptionLevel": "TIME_SENSITIVE", "relevanceScore": 1}),
        (SEND, {"to": [FCM], "schedule": {"sendAt": "2026-03-01T12:00:00+01:00"}, "overrides": {"fcm": {"a": 1}}}),
        (SEND, {"to": [FCM], "tags": {"k" * 128: "v" * 256}, "data": {"k": ""}, "badge": 0, "ttl": 2419200}),
        (REGISTER, FCM | {"appName": None, "userId": USER}),
        (UPLOAD, {"credentialType": "APN_SANDBOX", "content": {"privateKey": "x", "certificate": None}}),
        (("PATCH", "/PushNotifications/Apps/shop"), {"isDefault": True}),
    ],
)
async def test_what_the_schema_allows_the_contract_allows(
    upstream: Upstream, client: httpx.AsyncClient, route: tuple[str, str], body: dict[str, Any]
) -> None:
    assert DOCUMENT.problems_of_request(*route, body) == []
    assert await _problems_of_contract(upstream, client, route, body) == []


@pytest.mark.parametrize(
    ("route", "body"),
    [
        (SEND, {}),
        (SEND, {"to": []}),
        (SEND, {"to": None}),
        (SEND, {"to": [None]}),
        (SEND, {"to": [{}]}),
        (SEND, {"to": [{"token": "t"}]}),
        (SEND, {"to": [{"provider": "FCM"}]}),
        (SEND, {"to": [FCM | {"userId": USER}]}),
        (SEND, {"to": [{"userId": USER, "provider": "FCM"}]}),
        (SEND, {"to": [FCM | {"provider": "UNSPECIFIED"}]}),
        (SEND, {"to": [FCM | {"variables": []}]}),
        (SEND, {"to": [FCM], "unknown": 1}),
        (SEND, {"to": [FCM], "requestId": "k"}),
        (SEND, {"to": [FCM], "content": {"title": "x" * 16385}}),
        (SEND, {"to": [FCM], "tags": {"bad key": "v"}}),
        (SEND, {"to": [FCM], "tags": {str(number): "v" for number in range(11)}}),
        (SEND, {"to": [FCM], "data": {"k": None}}),
        (SEND, {"to": [FCM], "ttl": -1}),
        (SEND, {"to": [FCM], "relevanceScore": 1.5}),
        (SEND, {"to": [FCM], "color": "red"}),
        (SEND, {"to": [FCM], "schedule": {}}),
        (SEND, {"to": [FCM], "schedule": {"sendAt": "tomorrow"}}),
        (SEND, {"to": [FCM], "from": {"fcm": ""}}),
        (REGISTER, {"token": "", "provider": "FCM"}),
        (REGISTER, {"token": "t"}),
        (REGISTER, FCM | {"userId": "me"}),
        (REGISTER, FCM | {"userId": ""}),
        (REGISTER, FCM | {"appName": ""}),
        (UPLOAD, {"credentialType": "FCM"}),
        (UPLOAD, {"credentialType": "FCM", "content": {}}),
        (UPLOAD, {"credentialType": "FCM", "content": {"privateKey": "x", "keyId": ""}}),
        (("PATCH", "/PushNotifications/Apps/shop"), {"appName": "shop"}),
        (("POST", "/PushNotifications/DeviceRegistrations/Batch"), {"registrations": []}),
    ],
)
async def test_what_the_contract_refuses_the_schema_refuses(
    upstream: Upstream, client: httpx.AsyncClient, route: tuple[str, str], body: dict[str, Any]
) -> None:
    assert await _problems_of_contract(upstream, client, route, body)
    assert DOCUMENT.problems_of_request(*route, body)


async def _problems_of_contract(
    upstream: Upstream, client: httpx.AsyncClient, route: tuple[str, str], body: dict[str, Any]
) -> list[str]:
    """What the gateway says against a body, or, once it is a message, the rules in the protos."""
    response = await client.request(route[0], f"/v1{route[1]}", json=body)
    if response.status_code == 400:
        return [error["message"] for error in response.json()["errors"]]
    return [str(violation) for violation in protovalidate.collect_violations(upstream.request)]


def test_parameters_have_the_contract_s_rules() -> None:
    parameters = DOCUMENT.parameters("GET", f"/PushNotifications/Operations/{OPERATION}/Errors")
    assert parameters["pageSize"]["schema"] == {
        "type": "integer",
        "format": "int32",
        "minimum": 1,
        "maximum": 1000,
    }
    assert parameters["operationId"]["required"]
    assert re.search(parameters["operationId"]["schema"]["pattern"], OPERATION)
    assert DOCUMENT.parameters("GET", "/PushNotifications/DeviceRegistrations")["userId"]["required"]
    assert "required" not in DOCUMENT.parameters("GET", "/PushNotifications/Users")["pageSize"]


def test_a_push_notification_is_never_unaddressable() -> None:
    possible = ["SCHEDULED", "QUEUED", "SENT", "FAILED", "CANCELED"]
    asked = DOCUMENT.parameters("GET", "/PushNotifications")["status"]["schema"]
    assert asked == {"type": "string", "enum": possible}
    schemas = DOCUMENT.whole["components"]["schemas"]
    assert schemas["PushNotification"]["properties"]["status"]["enum"] == possible
    assert schemas["DeliveryStatus"]["enum"] == [*possible, "UNADDRESSABLE"], "as a recipient can be"


def test_what_takes_any_member_says_so() -> None:
    """Generators of clients make an empty object of `type: object` alone."""
    schemas = DOCUMENT.whole["components"]["schemas"]
    for alternative in schemas["RecipientInput"]["oneOf"]:
        assert alternative["properties"]["variables"]["additionalProperties"] is True
    assert schemas["OverridesInput"]["properties"]["fcm"]["additionalProperties"] is True


def test_what_an_accepted_send_has_is_required_beside_all_of() -> None:
    """Generators of clients pass over `required` beside `$ref`."""
    schema = DOCUMENT.find(*SEND)["responses"]["202"]["content"]["application/json"]["schema"]
    assert schema["allOf"] == [{"$ref": "#/components/schemas/SendPushNotificationResponse"}]
    assert schema["required"] == ["operationId", "operationLocation"]


def test_header_fields_are_header_parameters() -> None:
    [key] = DOCUMENT.find(*SEND)["parameters"]
    assert (key["name"], key["in"]) == ("Idempotency-Key", "header")
    for path in (f"/PushNotifications/Operations/{OPERATION}/Events", "/PushNotifications/Events"):
        assert DOCUMENT.parameters("GET", path)["Last-Event-ID"]["in"] == "header"


def test_streams_are_event_streams() -> None:
    answers = DOCUMENT.find("GET", "/PushNotifications/Events")["responses"]["200"]["content"]
    assert set(answers) == {"text/event-stream"}
    assert "StatusChanges" in DOCUMENT.whole["components"]["schemas"]


def test_successes_have_the_contract_s_statuses_and_headers() -> None:
    for rpc, binding in _bindings():
        responses = DOCUMENT.find(binding.http_method, _path(binding).removeprefix("/v1"))["responses"]
        status = str(rpc.rest.success_status or 200)
        assert ("Location" in responses[status]["headers"]) == bool(rpc.rest.location_field), rpc.path
        assert all("X-Request-Id" in DOCUMENT.resolve(response)["headers"] for response in responses.values())
    assert set(DOCUMENT.find(*SEND)["responses"]) >= {"200", "202", "400", "401", "404", "409", "413", "415", "503"}
    assert "Location" not in DOCUMENT.find(*SEND)["responses"]["200"]["headers"]
    assert "200" not in DOCUMENT.find(*REGISTER)["responses"]
    assert "Idempotent-Replayed" in DOCUMENT.find(*REGISTER)["responses"]["202"]["headers"]


async def test_errors_are_as_described(client: httpx.AsyncClient) -> None:
    wrong = await client.post("/v1/PushNotifications", json={"x": 1})
    unknown = await client.get("/v1/PushNotifications/Operations/x/y/z", auth=httpx.Auth())
    for response in (wrong, unknown):
        DOCUMENT.validator({"$ref": "#/components/schemas/Error"}).validate(response.json())
    for example in DOCUMENT.whole["components"]["responses"].values():
        media = example["content"]["application/json"]
        DOCUMENT.validator(media["schema"]).validate(media["example"])


@pytest.mark.parametrize(("method", "path", "rpc"), [route[:3] for route in ROUTES])
@pytest.mark.parametrize("full", [True, False], ids=["everything set", "nothing set"])
async def test_answers_fit_their_schemas(
    upstream: Upstream, client: httpx.AsyncClient, method: str, path: str, rpc: str, *, full: bool
) -> None:
    """Both ways: what is always there is required, and what may be there is described."""
    upstream.answers[rpc] = filled(RPCS[rpc].method.output_type) if full else bare(RPCS[rpc])
    body = {} if method in {"POST", "PATCH"} and not path.endswith("Cancel") else None
    response = await client.request(method, f"/v1/PushNotifications{path}", json=body)
    answer = response.json()
    assert DOCUMENT.problems_of_answer(method, f"/PushNotifications{path}", response.status_code, answer) == []


async def test_the_user_s_alias_answers_the_same(upstream: Upstream, client: httpx.AsyncClient) -> None:
    upstream.answers["GetUser"] = filled(RPCS["GetUser"].method.output_type)
    answer = (await client.get(f"/v1/Users/{USER}")).json()
    assert DOCUMENT.problems_of_answer("GET", f"/Users/{USER}", 200, answer) == []


async def test_events_fit_their_schema(upstream: Upstream, client: httpx.AsyncClient) -> None:
    kind = RPCS["WatchDeliveryStatus"].method.output_type
    [choice] = kind.oneofs
    messages = [
        GetMessageClass(kind)(resume_token="t", **{case.name: filled(_message(case))}) for case in choice.fields
    ]

    async def answer(*_: Any) -> AsyncIterator[Any]:
        for message in messages:
            yield message

    upstream.answers["WatchDeliveryStatus"] = answer
    text = (await client.get("/v1/PushNotifications/Events")).text
    retry, *found = [dict(line.split(": ", 1) for line in each.splitlines()) for each in text.strip().split("\n\n")]
    assert retry.keys() == {"retry"}
    assert len(found) == len(messages)
    media = DOCUMENT.find("GET", "/PushNotifications/Events")["responses"]["200"]["content"]["text/event-stream"]
    for event in found:
        DOCUMENT.validator(media["schema"], closed=True).validate(event)
        [kind_of] = [each for each in media["schema"]["oneOf"] if each["title"] == event["event"]]
        DOCUMENT.validator(kind_of["properties"]["data"]["contentSchema"], closed=True).validate(
            json.loads(event["data"])
        )


def _message(field: FieldDescriptor) -> Descriptor:
    assert field.message_type is not None
    return field.message_type


def _bindings() -> Iterator[tuple[Rpc, Binding]]:
    for rpc in read_contract():
        for binding in rpc.bindings:
            yield rpc, binding


def _path(binding: Binding) -> str:
    return "".join(
        f"/{{{re.sub('_(.)', lambda found: found[1].upper(), segment.field)}}}"
        if isinstance(segment, Variable)
        else f"/{segment}"
        for segment in binding.segments
    )


def _properties(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for alternative in schema.get("oneOf", [schema]):
        yield from alternative.get("properties", {}).items()
