"""The composition root: the only module that knows every concrete class, and how a process is put together of them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from functools import partial
from typing import Any

import structlog

from server import lifecycle
from server.api import delivery_status
from server.api.apps import AppServicer
from server.api.authentication import Authenticator
from server.api.credentials import CredentialServicer
from server.api.delivery_status import DeliveryStatusServicer
from server.api.device_registrations import DeviceRegistrationServicer
from server.api.dry_runs import DryRuns
from server.api.interceptors import CallInterceptor
from server.api.operations import OperationServicer
from server.api.push_notifications import PushNotificationServicer
from server.api.server import ApiServer
from server.api.users import UserServicer
from server.config import Config
from server.dispatch.health import HealthReports
from server.dispatch.job_run import Parts
from server.dispatch.lanes import Lanes
from server.dispatch.removals import RemovalGuard
from server.dispatch.rendering import Renderings
from server.dispatch.scheduler import run_schedule
from server.dispatch.upkeep import keep_up
from server.dispatch.worker import Worker
from server.domain import ids
from server.domain.ids import Kind
from server.localpg import LocalPostgres, LocalPostgresError
from server.providers.credentials.parsing import parse_credential
from server.providers.http2.pool import Http2Transport
from server.providers.httpx_transport import HttpxTransport
from server.providers.measuring import measure
from server.providers.sealing import Sealer
from server.providers.senders import Senders
from server.providers.transport import Connect
from server.rendering.renderer import Renderer
from server.store import migrations
from server.store.accounts import Accounts
from server.store.apps import Apps
from server.store.cancellations import Cancellations
from server.store.credentials import Credentials
from server.store.database import Database
from server.store.feed import Feed
from server.store.health import CredentialHealths
from server.store.hints import Hints
from server.store.idempotency import RequestKeys
from server.store.jobs import Jobs
from server.store.notifications import Notifications
from server.store.operations import Operations
from server.store.partitions import Partitions
from server.store.registrations import Registrations
from server.store.retention import Retention
from server.store.schedule import Schedule
from server.store.users import Users
from server.watch.stream import StatusStreams
from server.watch.tailer import Tailer

log = structlog.get_logger(__name__)

DATABASE = "pharos"


async def serve(config: Config, address: str) -> None:
    """Run the gRPC API on ``address`` (host:port) until a signal."""
    async with _database(config, "pharos-serve") as database, _running() as process:
        hints = Hints(database.dsn)
        tailer = Tailer(Feed(database), hints.feeds, hints)
        server = _api(config, database, hints, tailer, address)
        port = await server.start()
        process.start(hints.run())
        process.start(tailer.run())
        process.start(server.watch_database(database.ping))
        lifecycle.ready({"grpc": f"{address.rpartition(':')[0]}:{port}"})
        await process.stopped()
        tailer.close()
        await server.stop(config.grace.total_seconds())


async def work(config: Config, name: str) -> None:
    """Run a worker until a signal."""
    async with _database(config, "pharos-work") as database, _running() as process:
        hints = Hints(database.dsn)
        sealer = Sealer.from_environment(config.environment, config.data_dir)
        senders = Senders(config.endpoints, sealer, _transports(config))
        reports = HealthReports(CredentialHealths(database), hints)
        lanes, guard = Lanes(reports.tell), RemovalGuard(config.removal_share)
        parts = Parts(Jobs(database), senders, Renderings(Renderer()), lanes, hints, config.lease, guard)
        worker = Worker(parts, hints.jobs)
        process.start(hints.run())
        process.start(reports.run())
        process.start(run_schedule(Schedule(database), hints))
        process.start(
            keep_up(
                Partitions(database).make, RequestKeys(database).expire, Retention(database, config.retention).enforce
            )
        )
        working = process.start(worker.run())
        lifecycle.ready({"worker": name})
        await process.stopped()
        worker.stop()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(config.grace.total_seconds()):
                await asyncio.wait([working])
        await reports.finish()
        async with asyncio.timeout(config.endpoints.request_timeout + 5):
            await senders.aclose()


async def run_database(config: Config) -> None:
    """Own the embedded PostgreSQL until a signal, or until it ends by itself, which is an error."""
    async with _embedded(config) as postgres:
        stopping = lifecycle.stop_signal()
        lifecycle.ready({"databaseUrl": postgres.dsn(DATABASE)})
        await stopping.wait()


async def migrate(config: Config) -> list[str]:
    """Bring the schema up to date and return the names of what was applied."""
    async with _server(config) as dsn, _opened(dsn, "pharos-migrate") as database:
        return await migrations.migrate(database)


async def create_account(config: Config, name: str) -> dict[str, str]:
    """Make an account and return its id and its token, which can't be asked for again."""
    async with _database(config, "pharos-accounts") as database:
        issued = await Accounts(database).create(name)
    return {"accountId": ids.encode(Kind.ACCOUNT, issued.id), "authToken": issued.secret}


def _transports(config: Config) -> Connect:
    if config.transport == "httpx":
        return HttpxTransport
    return partial(Http2Transport, response_table=config.response_table)


def _api(config: Config, database: Database, hints: Hints, tailer: Tailer, address: str) -> ApiServer:
    renderer = Renderer()
    operations, notifications = Operations(database), Notifications(database)
    sealer = Sealer.from_environment(config.environment, config.data_dir)
    servicers = (
        UserServicer(Users(database)),
        DeviceRegistrationServicer(Registrations(database)),
        AppServicer(Apps(database)),
        CredentialServicer(Credentials(database), parse_credential, sealer, hints),
        PushNotificationServicer(
            operations, notifications, renderer, DryRuns(Jobs(database), renderer, measure), hints
        ),
        OperationServicer(operations, notifications, Cancellations(database), hints),
        DeliveryStatusServicer(StatusStreams(Feed(database), tailer, delivery_status.serialised)),
    )
    return ApiServer(address, servicers, CallInterceptor(Authenticator(Accounts(database))))


class _Process:
    """The background tasks of a process. A dead one ends it: ``stopped`` returns on a signal, or never."""

    def __init__(self, group: asyncio.TaskGroup, stopping: asyncio.Event) -> None:
        self._group = group
        self._stopping = stopping
        self.tasks: list[asyncio.Task[None]] = []

    def start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run a task until the process ends."""
        started = self._group.create_task(work)
        self.tasks.append(started)
        return started

    async def stopped(self) -> None:
        """Return when the process is asked to stop."""
        await self._stopping.wait()
        log.info("stopping")


@contextlib.asynccontextmanager
async def _running() -> AsyncIterator[_Process]:
    async with asyncio.TaskGroup() as group:
        process = _Process(group, lifecycle.stop_signal())
        yield process
        for task in process.tasks:
            task.cancel()


@contextlib.asynccontextmanager
async def _database(config: Config, application: str) -> AsyncIterator[Database]:
    """Open a database with this version's schema: an embedded one is migrated, another is only checked."""
    async with _server(config) as dsn, _opened(dsn, application) as database:
        if config.database_url is None:
            await migrations.migrate(database)
        else:
            await migrations.check(database)
        yield database


@contextlib.asynccontextmanager
async def _opened(dsn: str, application: str) -> AsyncIterator[Database]:
    database = await Database.open(dsn, application=application)
    try:
        yield database
    finally:
        await database.close()


@contextlib.asynccontextmanager
async def _server(config: Config) -> AsyncIterator[str]:
    if config.database_url is not None:
        yield config.database_url
        return
    async with _embedded(config) as postgres:
        yield postgres.dsn(DATABASE)


@contextlib.asynccontextmanager
async def _embedded(config: Config) -> AsyncIterator[LocalPostgres]:
    """Have the embedded server. Where this process owns it, its end is this process's: another start repairs both."""
    postgres = LocalPostgres(config.data_dir / "postgres")
    owned = await asyncio.to_thread(_start, postgres)
    try:
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(_watch(postgres)) if owned else None
            yield postgres
            if watch:
                watch.cancel()
    finally:
        await asyncio.to_thread(postgres.stop)


def _start(postgres: LocalPostgres) -> bool:
    owned = postgres.start()
    postgres.ensure_database(DATABASE)
    return owned


async def _watch(postgres: LocalPostgres) -> None:
    while not await asyncio.to_thread(postgres.ended, 0.5):
        pass
    raise LocalPostgresError("PostgreSQL has ended")
