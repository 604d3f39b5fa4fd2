"""AppService: the namespaces of credentials and registrations."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, Final, Protocol
from uuid import UUID

import grpc
from pharos.push.v1 import apps_pb2 as pb
from pharos.push.v1 import apps_pb2_grpc

from server.api import pages
from server.api.calls import current_account
from server.api.convert import BASE_PATH, CREDENTIAL_TYPE_NUMBERS, timestamp
from server.api.filters import period
from server.api.problems import Problems
from server.domain import ids
from server.domain.apps import App, AppDay, AppFilter, DefaultCredential
from server.domain.errors import Invalid, NotFound, Violation
from server.domain.ids import Kind

MAX_DAYS: Final = 400
"""From the first day of statistics to the last."""

DEFAULT_DAYS: Final = 7

Context = grpc.aio.ServicerContext[Any, Any]


class Apps(Protocol):
    """Where apps are kept."""

    async def get(self, account: UUID, name: str) -> App | None: ...

    async def newest(self, account: UUID, wanted: AppFilter, first: UUID, limit: int) -> Sequence[App]: ...

    async def set_default(self, account: UUID, name: str, *, is_default: bool) -> None: ...

    async def today(self) -> date: ...

    async def days(self, account: UUID, name: str, first: date, last: date) -> Sequence[AppDay]: ...


class AppServicer(apps_pb2_grpc.AppServiceServicer):
    def __init__(self, apps: Apps) -> None:
        self._apps = apps

    async def GetApp(self, request: pb.GetAppRequest, context: Context) -> pb.GetAppResponse:
        app = await self._apps.get(current_account(), request.app_name)
        if app is None:
            raise NotFound("there is no such app")
        return pb.GetAppResponse(app=_message(app))

    async def ListApps(self, request: pb.ListAppsRequest, context: Context) -> pb.ListAppsResponse:
        account = current_account()
        wanted = AppFilter(request.is_default if request.HasField("is_default") else None, period(request))
        apps, pagination = await pages.newest_first(
            request, lambda first, limit: self._apps.newest(account, wanted, first, limit), lambda app: app.app_id
        )
        return pb.ListAppsResponse(apps=[_message(app) for app in apps], pagination=pagination)

    async def UpdateApp(self, request: pb.UpdateAppRequest, context: Context) -> pb.UpdateAppResponse:
        await self._apps.set_default(current_account(), request.app_name, is_default=request.is_default)
        location = f"{BASE_PATH}/Apps/{request.app_name}"
        return pb.UpdateAppResponse(resource_id=request.app_name, resource_location=location)

    async def GetAppStats(self, request: pb.GetAppStatsRequest, context: Context) -> pb.GetAppStatsResponse:
        first, last = await self._days(request)
        days = await self._apps.days(current_account(), request.app_name, first, last)
        return pb.GetAppStatsResponse(days=[_day(day) for day in days])

    async def _days(self, request: pb.GetAppStatsRequest) -> tuple[date, date]:
        """Return the first and the last day asked for. Raises ``Invalid``."""
        problems = Problems()
        first = problems.collect(lambda: _date(request, "from"))
        last = problems.collect(lambda: _date(request, "to"))
        problems.raise_any()
        if last is None:
            last = await self._apps.today()
        if first is None:
            first = date.fromordinal(max(last.toordinal() - DEFAULT_DAYS, 1))
        if first > last:
            raise Invalid(Violation("from", "is after the last day"))
        if (last - first).days > MAX_DAYS:
            raise Invalid(Violation("from", f"is more than {MAX_DAYS} days before the last day"))
        return first, last


def _date(request: pb.GetAppStatsRequest, field: str) -> date | None:
    text: str = getattr(request, field)
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise Invalid(Violation(field, "is no day of the calendar")) from None


def _day(day: AppDay) -> pb.DailyAppStats:
    return pb.DailyAppStats(
        date=day.day.isoformat(),
        sent=day.sent,
        failed=day.failed,
        canceled=day.canceled,
        unaddressable=day.unaddressable,
    )


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
