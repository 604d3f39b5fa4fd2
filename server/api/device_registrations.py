"""DeviceRegistrationService: the devices of users under apps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol
from uuid import UUID

import grpc
from pharos.push.v1 import device_registrations_pb2 as pb
from pharos.push.v1 import device_registrations_pb2_grpc

from server.api import pages
from server.api.calls import current_account
from server.api.convert import BASE_PATH, PROVIDER_NUMBERS, PROVIDERS, id_in_field, id_in_path
from server.api.requests import request_key, result_of
from server.domain import ids
from server.domain.devices import Device, DeviceRegistration, NewDevice, Registered, normal_token
from server.domain.errors import Invalid, NotFound, Violation
from server.domain.ids import Kind
from server.domain.requests import Done, RequestKey

Context = grpc.aio.ServicerContext[Any, Any]


class Registrations(Protocol):
    """Where registrations are kept."""

    async def register(self, account: UUID, new: NewDevice, key: RequestKey | None = None) -> Done[UUID]: ...

    async def get(self, account: UUID, registration_id: UUID) -> DeviceRegistration | None: ...

    async def register_batch(
        self, account: UUID, batch: Sequence[NewDevice | Violation], key: RequestKey | None = None
    ) -> Done[Sequence[Registered]]: ...

    async def newest(
        self, account: UUID, user: UUID, app_name: str | None, first: UUID, limit: int
    ) -> Sequence[DeviceRegistration]: ...

    async def delete(self, account: UUID, registration_id: UUID, device: Device | None = None) -> None: ...


class DeviceRegistrationServicer(device_registrations_pb2_grpc.DeviceRegistrationServiceServicer):
    def __init__(self, registrations: Registrations) -> None:
        self._registrations = registrations

    async def RegisterDevice(self, request: pb.RegisterDeviceRequest, context: Context) -> pb.RegisterDeviceResponse:
        new = _new_device(request)
        done = await self._registrations.register(current_account(), new, request_key(request))
        name = ids.encode(Kind.DEVICE_REGISTRATION, result_of(done, context))
        return pb.RegisterDeviceResponse(resource_id=name, resource_location=_location(name))

    async def BatchRegisterDevices(
        self, request: pb.BatchRegisterDevicesRequest, context: Context
    ) -> pb.BatchRegisterDevicesResponse:
        _refuse_keys_inside(request)
        batch = [_new_device_or_refusal(each) for each in request.registrations]
        done = await self._registrations.register_batch(current_account(), batch, request_key(request))
        registered = result_of(done, context)
        results = [_result(index, each) for index, each in enumerate(registered)]
        return pb.BatchRegisterDevicesResponse(results=results)

    async def GetDeviceRegistration(
        self, request: pb.GetDeviceRegistrationRequest, context: Context
    ) -> pb.GetDeviceRegistrationResponse:
        registration_id = id_in_path(Kind.DEVICE_REGISTRATION, request.device_registration_id)
        registration = await self._registrations.get(current_account(), registration_id)
        if registration is None:
            raise NotFound("there is no such device registration")
        return pb.GetDeviceRegistrationResponse(device_registration=_message(registration))

    async def ListDeviceRegistrations(
        self, request: pb.ListDeviceRegistrationsRequest, context: Context
    ) -> pb.ListDeviceRegistrationsResponse:
        account = current_account()
        user = id_in_field(Kind.USER, request.user_id, "user_id")
        request.user_id = ids.encode(Kind.USER, user)  # in page tokens both of its names are the same user
        found, pagination = await pages.newest_first(
            request,
            lambda first, limit: self._registrations.newest(account, user, request.app_name or None, first, limit),
            lambda registration: registration.registration_id,
        )
        return pb.ListDeviceRegistrationsResponse(
            device_registrations=[_message(registration) for registration in found], pagination=pagination
        )

    async def DeleteDeviceRegistration(
        self, request: pb.DeleteDeviceRegistrationRequest, context: Context
    ) -> pb.DeleteDeviceRegistrationResponse:
        registration_id = id_in_path(Kind.DEVICE_REGISTRATION, request.device_registration_id)
        await self._registrations.delete(current_account(), registration_id, _device_to_delete(request))
        name = ids.encode(Kind.DEVICE_REGISTRATION, registration_id)
        return pb.DeleteDeviceRegistrationResponse(resource_id=name, resource_location=_location(name))


def _new_device(request: pb.RegisterDeviceRequest) -> NewDevice:
    user = id_in_field(Kind.USER, request.user_id, "user_id") if request.user_id else None
    return NewDevice(_device(request), request.app_name or None, user)


def _refuse_keys_inside(request: pb.BatchRegisterDevicesRequest) -> None:
    inside = [index for index, each in enumerate(request.registrations) if each.request_id]
    if inside:
        message = "is not allowed here: the batch has one of its own"
        raise Invalid(*(Violation(f"registrations[{index}].request_id", message) for index in inside))


def _new_device_or_refusal(request: pb.RegisterDeviceRequest) -> NewDevice | Violation:
    try:
        return _new_device(request)
    except Invalid as error:
        return error.violations[0]


def _result(index: int, registered: Registered) -> pb.BatchRegisterDevicesResult:
    if isinstance(registered, Violation):
        field = f"registrations[{index}].{registered.field}"
        return pb.BatchRegisterDevicesResult(error=registered.message, field=field)
    name = ids.encode(Kind.DEVICE_REGISTRATION, registered)
    return pb.BatchRegisterDevicesResult(resource_id=name, resource_location=_location(name))


def _device_to_delete(request: pb.DeleteDeviceRegistrationRequest) -> Device | None:
    """None for all of them."""
    if not request.provider and not request.token:
        return None
    if not request.token:
        raise Invalid(Violation("token", "is required with a provider"))
    if not request.provider:
        raise Invalid(Violation("provider", "is required with a token"))
    return _device(request)


def _device(request: pb.RegisterDeviceRequest | pb.DeleteDeviceRegistrationRequest) -> Device:
    provider = PROVIDERS[request.provider]
    token = normal_token(provider, request.token)
    if token is None:
        raise Invalid(Violation("token", "must be hexadecimal for APN"))
    return Device(provider, token)


def _message(registration: DeviceRegistration) -> pb.DeviceRegistration:
    user = ids.encode(Kind.USER, registration.user_id)
    app = registration.app_name
    return pb.DeviceRegistration(
        id=ids.encode(Kind.DEVICE_REGISTRATION, registration.registration_id),
        app_name=app,
        user_id=user,
        devices=[
            pb.Device(provider=PROVIDER_NUMBERS[device.provider], token=device.token) for device in registration.devices
        ],
        related=[
            pb.RelatedResource(id=user, name="user", uri=f"/Users/{user}"),
            pb.RelatedResource(id=app, name="push_notification_app", uri=f"/PushNotifications/Apps/{app}"),
        ],
    )


def _location(name: str) -> str:
    return f"{BASE_PATH}/DeviceRegistrations/{name}"
