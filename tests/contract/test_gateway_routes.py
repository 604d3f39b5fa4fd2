"""What of REST leads to which RPC."""

from __future__ import annotations

import pytest

from tests.contract.gateway_upstream import (
    CREDENTIAL,
    NOTIFICATION,
    OPERATION,
    REGISTRATION,
    USER,
    Upstream,
    rest,
)

# The table of the REST contract. A body of {} where there is one.
ROUTES = [
    ("POST", "", "SendPushNotification", 200),  # 200 as an empty answer has no operation; see test_gateway_answers
    ("GET", "", "ListPushNotifications", 200),
    ("GET", f"/{NOTIFICATION}", "GetPushNotification", 200),
    ("GET", "/Operations", "ListOperations", 200),
    ("GET", f"/Operations/{OPERATION}", "GetOperation", 200),
    ("GET", f"/Operations/{OPERATION}/Errors", "ListOperationErrors", 200),
    ("POST", f"/Operations/{OPERATION}/Cancel", "CancelOperation", 202),
    ("POST", "/DeviceRegistrations", "RegisterDevice", 200),
    ("GET", "/DeviceRegistrations", "ListDeviceRegistrations", 200),
    ("POST", "/DeviceRegistrations/Batch", "BatchRegisterDevices", 200),
    ("GET", f"/DeviceRegistrations/{REGISTRATION}", "GetDeviceRegistration", 200),
    ("DELETE", f"/DeviceRegistrations/{REGISTRATION}", "DeleteDeviceRegistration", 202),
    ("POST", "/Credentials", "CreateCredential", 200),
    ("GET", "/Credentials", "ListCredentials", 200),
    ("GET", f"/Credentials/{CREDENTIAL}", "GetCredential", 200),
    ("PATCH", f"/Credentials/{CREDENTIAL}", "UpdateCredential", 202),
    ("DELETE", f"/Credentials/{CREDENTIAL}", "DeleteCredential", 202),
    ("GET", "/Apps", "ListApps", 200),
    ("GET", "/Apps/shop", "GetApp", 200),
    ("PATCH", "/Apps/shop", "UpdateApp", 202),
    ("POST", "/StreamTokens", "CreateStreamToken", 200),
    ("GET", "/Users", "ListUsers", 200),
    ("GET", f"/Users/{USER}", "GetUser", 200),
    ("DELETE", f"/Users/{USER}", "DeleteUser", 202),
]


@pytest.mark.parametrize("version", ["v1", "preview"])
@pytest.mark.parametrize(("method", "path", "rpc", "status"), ROUTES)
async def test_every_documented_route_calls_its_rpc(
    version: str, method: str, path: str, rpc: str, status: int
) -> None:
    body = {} if method in {"POST", "PATCH"} and not path.endswith("Cancel") else None
    async with Upstream() as upstream, rest(upstream.target) as client:
        response = await client.request(method, f"/{version}/PushNotifications{path}", json=body)
    assert response.status_code == status, response.text
    assert [name for name, _, _ in upstream.calls] == [rpc]


@pytest.mark.parametrize("version", ["v1", "preview"])
async def test_a_user_is_also_found_where_registrations_link_to(version: str) -> None:
    async with Upstream() as upstream, rest(upstream.target) as client:
        response = await client.get(f"/{version}/Users/{USER}")
    assert response.status_code == 200
    assert upstream.request.user_id == USER


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/v1",
        "/v2/PushNotifications",
        "/v1/PushNotifications/",
        "/v1/PushNotifications/Operations/",
        "/v1/PushNotifications/Operations/x/Nothing",
        "/v1/pushnotifications",
        "/v1/PushNotifications/%FF",
    ],
)
async def test_an_unknown_path_is_404(path: str) -> None:
    async with Upstream() as upstream, rest(upstream.target) as client:
        response = await client.get(path)
    assert response.status_code == 404
    assert response.json()["errors"][0]["code"] == 20404
    assert not upstream.calls


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/v1/PushNotifications", "GET, POST"),
        ("DELETE", "/preview/PushNotifications/Operations", "GET"),
        ("GET", f"/v1/PushNotifications/Operations/{OPERATION}/Cancel", "POST"),
        ("POST", f"/v1/PushNotifications/Credentials/{CREDENTIAL}", "DELETE, GET, PATCH"),
        ("POST", "/healthz", "GET, HEAD"),
    ],
)
async def test_a_wrong_method_is_405_and_names_the_right_ones(method: str, path: str, allow: str) -> None:
    async with Upstream() as upstream, rest(upstream.target) as client:
        response = await client.request(method, path)
    assert response.status_code == 405
    assert sorted(response.headers["Allow"].split(", ")) == allow.split(", ")
    assert response.json()["errors"][0]["code"] == 20405


async def test_an_escaped_slash_stays_inside_its_segment() -> None:
    async with Upstream() as upstream, rest(upstream.target) as client:
        response = await client.get("/v1/PushNotifications/Apps/a%2Fb")
    assert response.status_code == 200
    assert upstream.request.app_name == "a/b"
