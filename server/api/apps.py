"""AppService: the namespaces of credentials and registrations."""

from __future__ import annotations

from typing import Any, Protocol
from uuid import UUID

import grpc
from pharos.push.v1 import apps_pb2 as pb
from pharos.push.v1 import apps_pb2_grpc

from server.api.calls import current_account
from server.api.convert import CREDENTIAL_TYPE_NUMBERS, timestamp
from server.domain import ids
from server.domain.apps import App, DefaultCredential
from server.domain.errors import NotFound, NotImplementedYet
from server.domain.ids import Kind

Context = grpc.aio.ServicerContext[Any, Any]


class Apps(Protocol):
    """Where apps are kept."""

    async def get(self, account: UUID, name: str) -> App | None: ...


class AppServicer(apps_pb2_grpc.AppServiceServicer):
    def __init__(self, apps: Apps) -> None:
        self._apps = apps

    async def GetApp(self, request: pb.GetAppRequest, context: Context) -> pb.GetAppResponse:
        app = await self._apps.get(current_account(), request.app_name)
        if app is None:
            raise NotFound("there is no such app")
        return pb.GetAppResponse(app=_message(app))

    async def ListApps(self, request: pb.ListAppsRequest, context: Context) -> pb.ListAppsResponse:
        raise NotImplementedYet("apps can't be listed yet")

    async def UpdateApp(self, request: pb.UpdateAppRequest, context: Context) -> pb.UpdateAppResponse:
        raise NotImplementedYet("apps can't be changed yet")

    async def GetAppStats(self, request: pb.GetAppStatsRequest, context: Context) -> pb.GetAppStatsResponse:
        raise NotImplementedYet("apps have no statistics yet")


def _message(app: App) -> pb.App:
    return pb.App(
        name=app.name,
        is_default=app.is_default,
        default_credentials=[_default(default) for default in app.default_credentials],
        created_at=timestamp(app.created_at),
        updated_at=timestamp(app.updated_at),
    )


def _default(default: DefaultCredential) -> pb.DefaultCredential:
    return pb.DefaultCredential(
        credential_type=CREDENTIAL_TYPE_NUMBERS[default.credential_type],
        credential_id=ids.encode(Kind.CREDENTIAL, default.credential_id),
    )
