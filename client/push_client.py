"""The async client of Pharos: the calls of its gRPC API, typed, with errors that say what was wrong."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from types import TracebackType
from typing import Self, TypeVar

from pharos.push.v1 import (
    apps_pb2,
    apps_pb2_grpc,
    credentials_pb2,
    credentials_pb2_grpc,
    delivery_status_pb2,
    device_registrations_pb2,
    device_registrations_pb2_grpc,
    operations_pb2,
    operations_pb2_grpc,
    push_notifications_pb2,
    push_notifications_pb2_grpc,
    stream_tokens_pb2,
    stream_tokens_pb2_grpc,
    types_pb2,
    users_pb2,
    users_pb2_grpc,
)

from client.calls import Caller, basic_auth, copied
from client.channels import open_channel
from client.connection import Connection
from client.errors import PushError
from client.subscription import PATIENCE, SILENCE, follow

Keyed = TypeVar(
    "Keyed",
    push_notifications_pb2.SendPushNotificationRequest,
    device_registrations_pb2.RegisterDeviceRequest,
    device_registrations_pb2.BatchRegisterDevicesRequest,
    credentials_pb2.CreateCredentialRequest,
)


class PushClient:
    """An account's access to Pharos. Use it with `async with`; one client serves any number of tasks.

    `target`: `host:port`, or `http://` and `https://` in front of it; `secure` is TLS with the system's roots, or
    with `root_certificates` (PEM). `timeout`: seconds for a unary call, its repetitions included. Calls raise
    PushError. Calls that are safe to repeat are repeated while the service is unavailable; to make the others safe,
    a request without a `request_id` gets one.
    """

    def __init__(
        self,
        target: str,
        account_id: str,
        auth_token: str,
        *,
        secure: bool = False,
        root_certificates: bytes | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._channel = open_channel(target, secure=secure, root_certificates=root_certificates)
        self._metadata = basic_auth(account_id, auth_token)
        self._caller = Caller(self._metadata, timeout)
        self._notifications = push_notifications_pb2_grpc.PushNotificationServiceStub(self._channel)
        self._operations = operations_pb2_grpc.OperationServiceStub(self._channel)
        self._registrations = device_registrations_pb2_grpc.DeviceRegistrationServiceStub(self._channel)
        self._stream_tokens = stream_tokens_pb2_grpc.StreamTokenServiceStub(self._channel)
        self._users = users_pb2_grpc.UserServiceStub(self._channel)
        self._apps = apps_pb2_grpc.AppServiceStub(self._channel)
        self._credentials = credentials_pb2_grpc.CredentialServiceStub(self._channel)

    @classmethod
    def connect(cls, connection: Connection) -> Self:
        """The client of a connection found in a dev.env or in the environment."""
        return cls(connection.target, connection.account_id, connection.auth_token, secure=connection.secure)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connection, and with it calls that are still open."""
        await self._channel.close()

    # Sends

    async def send(
        self, request: push_notifications_pb2.SendPushNotificationRequest
    ) -> push_notifications_pb2.SendPushNotificationResponse:
        """Sends to 1-10,000 recipients; the answer names the operation that carries it out."""
        return await self._caller.safely(self._notifications.SendPushNotification, _keyed(request))

    async def get_push_notification(self, push_notification_id: str) -> push_notifications_pb2.PushNotification:
        """One recipient's notification, with its rendered content and the devices tried."""
        request = push_notifications_pb2.GetPushNotificationRequest(push_notification_id=push_notification_id)
        return (await self._caller.safely(self._notifications.GetPushNotification, request)).push_notification

    def list_push_notifications(
        self, filters: push_notifications_pb2.ListPushNotificationsRequest | None = None
    ) -> AsyncIterator[push_notifications_pb2.PushNotification]:
        """Notifications, newest first, page by page."""
        request = copied(filters or push_notifications_pb2.ListPushNotificationsRequest())
        return self._caller.items(self._notifications.ListPushNotifications, request, lambda page: page.notifications)

    # Operations

    async def get_operation(self, operation_id: str) -> operations_pb2.Operation:
        """A send as a whole, with its counts."""
        request = operations_pb2.GetOperationRequest(operation_id=operation_id)
        return (await self._caller.safely(self._operations.GetOperation, request)).operation

    def list_operations(
        self, filters: operations_pb2.ListOperationsRequest | None = None
    ) -> AsyncIterator[operations_pb2.Operation]:
        """Operations, newest first, page by page."""
        request = copied(filters or operations_pb2.ListOperationsRequest())
        return self._caller.items(self._operations.ListOperations, request, lambda page: page.operations)

    def list_operation_errors(self, operation_id: str) -> AsyncIterator[operations_pb2.OperationError]:
        """Recipients that failed or had no device, in the request's order."""
        request = operations_pb2.ListOperationErrorsRequest(operation_id=operation_id, page_size=1000)
        return self._caller.items(self._operations.ListOperationErrors, request, lambda page: page.errors)

    async def cancel_operation(self, operation_id: str) -> operations_pb2.CancelOperationResponse:
        """Cancels what no worker has taken yet. A second cancel changes nothing, so it is safe to repeat."""
        request = operations_pb2.CancelOperationRequest(operation_id=operation_id)
        return await self._caller.safely(self._operations.CancelOperation, request)

    def watch(
        self,
        request: delivery_status_pb2.WatchDeliveryStatusRequest | None = None,
        *,
        operation_id: str | None = None,
        push_notification_id: str | None = None,
        statuses: Iterable[types_pb2.DeliveryStatus.ValueType] = (),
        resume_token: str = "",
        silence: float = SILENCE,
        patience: float = PATIENCE,
        on_lost: Callable[[PushError], None] = lambda _: None,
    ) -> AsyncGenerator[delivery_status_pb2.WatchDeliveryStatusResponse, None]:
        """The live status of one operation, one notification or, with neither, the whole account.

        Whatever else the request can say is said by a `request`, to which the other arguments are added. Goes on by
        itself, as `client.subscription.follow` says.
        """
        request = copied(request or delivery_status_pb2.WatchDeliveryStatusRequest())
        request.statuses.extend(statuses)
        request.resume_token = resume_token or request.resume_token
        if operation_id is not None:
            request.operation_id = operation_id
        elif push_notification_id is not None:
            request.push_notification_id = push_notification_id
        return follow(self._channel, request, self._metadata, silence=silence, patience=patience, on_lost=on_lost)

    async def create_stream_token(
        self, request: stream_tokens_pb2.CreateStreamTokenRequest | None = None
    ) -> stream_tokens_pb2.CreateStreamTokenResponse:
        """A token that opens the streams of one scope, or of the account, for 10 minutes unless told otherwise."""
        request = request or stream_tokens_pb2.CreateStreamTokenRequest()
        return await self._caller.safely(self._stream_tokens.CreateStreamToken, request)

    # Devices and users

    async def register_device(
        self, request: device_registrations_pb2.RegisterDeviceRequest
    ) -> device_registrations_pb2.RegisterDeviceResponse:
        """Registers one device; without a user a new one is made."""
        return await self._caller.safely(self._registrations.RegisterDevice, _keyed(request))

    async def register_devices(
        self, registrations: Iterable[device_registrations_pb2.RegisterDeviceRequest]
    ) -> list[device_registrations_pb2.BatchRegisterDevicesResult]:
        """Registers up to 1,000 devices; one result each, in order. A result's `error` says why one failed."""
        request = device_registrations_pb2.BatchRegisterDevicesRequest(registrations=registrations)
        return list((await self._caller.safely(self._registrations.BatchRegisterDevices, _keyed(request))).results)

    async def get_device_registration(self, device_registration_id: str) -> device_registrations_pb2.DeviceRegistration:
        """One user's devices under one app."""
        request = device_registrations_pb2.GetDeviceRegistrationRequest(device_registration_id=device_registration_id)
        return (await self._caller.safely(self._registrations.GetDeviceRegistration, request)).device_registration

    def list_device_registrations(
        self, user_id: str, app_name: str = ""
    ) -> AsyncIterator[device_registrations_pb2.DeviceRegistration]:
        """A user's registrations, one for each app."""
        request = device_registrations_pb2.ListDeviceRegistrationsRequest(user_id=user_id, app_name=app_name)
        return self._caller.items(
            self._registrations.ListDeviceRegistrations, request, lambda page: page.device_registrations
        )

    async def delete_device_registration(
        self, device_registration_id: str, device: device_registrations_pb2.Device | None = None
    ) -> device_registrations_pb2.DeleteDeviceRegistrationResponse:
        """Deletes the registration, or only one device of it."""
        request = device_registrations_pb2.DeleteDeviceRegistrationRequest(
            device_registration_id=device_registration_id,
            provider=device.provider if device else types_pb2.PROVIDER_UNSPECIFIED,
            token=device.token if device else "",
        )
        return await self._caller.once(self._registrations.DeleteDeviceRegistration, request)

    async def get_user(self, user_id: str) -> users_pb2.User:
        """A user, also a deleted one."""
        return (await self._caller.safely(self._users.GetUser, users_pb2.GetUserRequest(user_id=user_id))).user

    def list_users(self) -> AsyncIterator[users_pb2.User]:
        """Users that are not deleted, newest first."""
        return self._caller.items(self._users.ListUsers, users_pb2.ListUsersRequest(), lambda page: page.users)

    async def delete_user(self, user_id: str) -> users_pb2.DeleteUserResponse:
        """Deletes a user and at once all its registrations."""
        return await self._caller.once(self._users.DeleteUser, users_pb2.DeleteUserRequest(user_id=user_id))

    # Apps and credentials

    async def get_app(self, app_name: str) -> apps_pb2.App:
        """An app and its default credentials."""
        return (await self._caller.safely(self._apps.GetApp, apps_pb2.GetAppRequest(app_name=app_name))).app

    def list_apps(self, filters: apps_pb2.ListAppsRequest | None = None) -> AsyncIterator[apps_pb2.App]:
        """Apps, newest first."""
        request = copied(filters or apps_pb2.ListAppsRequest())
        return self._caller.items(self._apps.ListApps, request, lambda page: page.apps)

    async def update_app(self, request: apps_pb2.UpdateAppRequest) -> apps_pb2.UpdateAppResponse:
        """Makes the app the account's default."""
        return await self._caller.safely(self._apps.UpdateApp, request)

    async def get_app_stats(self, app_name: str, first: str = "", last: str = "") -> list[apps_pb2.DailyAppStats]:
        """Counts for each day (YYYY-MM-DD, UTC) from `first` to `last` that had any; the last week by default."""
        request = apps_pb2.GetAppStatsRequest(app_name=app_name, to=last, **{"from": first})
        return list((await self._caller.safely(self._apps.GetAppStats, request)).days)

    async def create_credential(
        self, request: credentials_pb2.CreateCredentialRequest
    ) -> credentials_pb2.CreateCredentialResponse:
        """Uploads a credential; a missing app is made."""
        return await self._caller.safely(self._credentials.CreateCredential, _keyed(request))

    async def get_credential(self, credential_id: str) -> credentials_pb2.Credential:
        """A credential, without its content."""
        request = credentials_pb2.GetCredentialRequest(credential_id=credential_id)
        return (await self._caller.safely(self._credentials.GetCredential, request)).credential

    def list_credentials(
        self, filters: credentials_pb2.ListCredentialsRequest | None = None
    ) -> AsyncIterator[credentials_pb2.Credential]:
        """Credentials, newest first."""
        request = copied(filters or credentials_pb2.ListCredentialsRequest())
        return self._caller.items(self._credentials.ListCredentials, request, lambda page: page.credentials)

    async def update_credential(
        self, request: credentials_pb2.UpdateCredentialRequest
    ) -> credentials_pb2.UpdateCredentialResponse:
        """Makes the credential its app's default for its type, or replaces its content."""
        return await self._caller.safely(self._credentials.UpdateCredential, request)

    async def delete_credential(self, credential_id: str) -> credentials_pb2.DeleteCredentialResponse:
        """Deletes a credential; an app left without any is deleted with its registrations."""
        request = credentials_pb2.DeleteCredentialRequest(credential_id=credential_id)
        return await self._caller.once(self._credentials.DeleteCredential, request)


def _keyed(request: Keyed) -> Keyed:
    """The request with a key by which the service knows a repetition; the caller's own message stays without."""
    if request.request_id:
        return request
    keyed = copied(request)
    keyed.request_id = str(uuid.uuid4())
    return keyed
