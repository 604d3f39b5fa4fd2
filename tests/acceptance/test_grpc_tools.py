"""What gRPC's own tools see: health, reflection, and a clean answer of what is not there yet."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from client.calls import basic_auth
from tests.acceptance.stack import Stack

_README = Path(__file__).parents[2] / "README.md"
_PACKAGE = "pharos.push.v1"
_SERVICES = {
    "AppService",
    "CredentialService",
    "DeliveryStatusService",
    "DeviceRegistrationService",
    "OperationService",
    "PushNotificationService",
    "StreamTokenService",
    "UserService",
    "WebhookService",
}
_SUFFIX = "01h9krwprkeee8fzqspvwy6nq8"  # of nothing that exists

# A request to each RPC that is in order and changes nothing; where nothing is given here it is an empty one.
_REQUESTS: dict[str, dict[str, Any]] = {
    "GetApp": {"app_name": "unknown"},
    "UpdateApp": {"app_name": "unknown", "is_default": True},
    "GetAppStats": {"app_name": "unknown"},
    "CreateCredential": {"credential_type": "CREDENTIAL_TYPE_FCM", "content": {"private_key": "none"}},
    "GetCredential": {"credential_id": f"comms_credential_{_SUFFIX}"},
    "UpdateCredential": {"credential_id": f"comms_credential_{_SUFFIX}", "is_default": True},
    "DeleteCredential": {"credential_id": f"comms_credential_{_SUFFIX}"},
    "WatchDeliveryStatus": {"operation_id": f"comms_operation_{_SUFFIX}"},
    "RegisterDevice": {"token": "t", "provider": "PROVIDER_FCM", "app_name": "unknown"},
    "BatchRegisterDevices": {"registrations": [{"token": "t", "provider": "PROVIDER_FCM", "app_name": "unknown"}]},
    "GetDeviceRegistration": {"device_registration_id": f"comms_device_registration_{_SUFFIX}"},
    "ListDeviceRegistrations": {"user_id": f"comms_pushnotificationuser_{_SUFFIX}"},
    "DeleteDeviceRegistration": {"device_registration_id": f"comms_device_registration_{_SUFFIX}"},
    "GetOperation": {"operation_id": f"comms_operation_{_SUFFIX}"},
    "ListOperationErrors": {"operation_id": f"comms_operation_{_SUFFIX}"},
    "CancelOperation": {"operation_id": f"comms_operation_{_SUFFIX}"},
    "SendPushNotification": {
        "to": [{"token": "t", "provider": "PROVIDER_FCM"}],
        "content": {"body": "Hello"},
        "sender": {"app_name": "unknown"},
    },
    "GetPushNotification": {"push_notification_id": f"comms_pushnotification_{_SUFFIX}"},
    "GetUser": {"user_id": f"comms_pushnotificationuser_{_SUFFIX}"},
    "DeleteUser": {"user_id": f"comms_pushnotificationuser_{_SUFFIX}"},
    "CreateWebhook": {"url": "https://127.0.0.1/refused"},
    "GetWebhook": {"webhook_id": f"comms_webhook_{_SUFFIX}"},
    "DeleteWebhook": {"webhook_id": f"comms_webhook_{_SUFFIX}"},
    "RotateWebhookSecret": {"webhook_id": f"comms_webhook_{_SUFFIX}"},
    "PauseWebhook": {"webhook_id": f"comms_webhook_{_SUFFIX}"},
    "ResumeWebhook": {"webhook_id": f"comms_webhook_{_SUFFIX}"},
    "ListWebhookDeliveries": {"webhook_id": f"comms_webhook_{_SUFFIX}"},
    "ReplayWebhookDeliveries": {"webhook_id": f"comms_webhook_{_SUFFIX}"},
}
_ANSWERS = {grpc.StatusCode.OK, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT}


@pytest.fixture
def channel(stack: Stack) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(stack.grpc) as channel:
        yield channel


@pytest.fixture
def services(channel: grpc.Channel) -> dict[str, ServiceDescriptor]:
    """Ours as reflection describes them: nothing here comes from the generated code."""
    database = ProtoReflectionDescriptorDatabase(channel)
    pool = DescriptorPool(database)
    names = [name for name in database.get_services() if name.startswith(f"{_PACKAGE}.")]
    return {name.rpartition(".")[2]: pool.FindServiceByName(name) for name in names}


class Caller:
    """Calls what reflection describes, as the stack's account."""

    def __init__(self, channel: grpc.Channel, stack: Stack) -> None:
        self._channel = channel
        account, token = stack.variables["PHAROS_ACCOUNT_ID"], stack.variables["PHAROS_AUTH_TOKEN"]
        self._metadata = basic_auth(account, token)

    def call(self, method: MethodDescriptor, **fields: Any) -> Any:
        """The answer, or the stream's first message. Raises grpc.RpcError."""
        request = GetMessageClass(method.input_type)(**fields)
        codec = type(request).SerializeToString, GetMessageClass(method.output_type).FromString
        path = f"/{method.containing_service.full_name}/{method.name}"
        if method.server_streaming:
            return next(self._channel.unary_stream(path, *codec)(request, metadata=self._metadata, timeout=30))
        return self._channel.unary_unary(path, *codec)(request, metadata=self._metadata, timeout=30)


@pytest.fixture
def caller(channel: grpc.Channel, stack: Stack) -> Caller:
    return Caller(channel, stack)


def test_health_is_serving_for_each_service(channel: grpc.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)

    for name in ("", *(f"{_PACKAGE}.{service}" for service in _SERVICES)):
        answer = health.Check(health_pb2.HealthCheckRequest(service=name), timeout=30)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING, name


def test_reflection_lists_and_describes(services: dict[str, ServiceDescriptor]) -> None:
    assert services.keys() == _SERVICES
    send = services["PushNotificationService"].methods_by_name["SendPushNotification"]
    assert {"to", "content", "sender", "ttl"} <= set(send.input_type.fields_by_name)
    recipient = send.input_type.fields_by_name["to"].message_type
    assert recipient is not None
    assert recipient.full_name == f"{_PACKAGE}.Recipient"


def test_a_call_is_made_with_what_reflection_says(services: dict[str, ServiceDescriptor], caller: Caller) -> None:
    answer = caller.call(services["AppService"].methods_by_name["GetApp"], app_name="default")

    assert (answer.app.name, answer.app.is_default) == ("default", True)


def test_every_method_is_there(services: dict[str, ServiceDescriptor], caller: Caller) -> None:
    codes = {method.full_name: _code_of(caller, method) for service in services.values() for method in service.methods}

    assert {name: code for name, code in codes.items() if code not in _ANSWERS} == {}


def _code_of(caller: Caller, method: MethodDescriptor) -> grpc.StatusCode:
    try:
        caller.call(method, **_REQUESTS.get(method.name, {}))
    except grpc.RpcError as error:
        code: grpc.StatusCode = error.code()
        return code
    return grpc.StatusCode.OK
