"""Our services on a test's database, for servers in the test's own process."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from server.api.apps import AppServicer
from server.api.authentication import Authenticator
from server.api.credentials import CredentialServicer
from server.api.device_registrations import DeviceRegistrationServicer
from server.api.dry_runs import DryRuns
from server.api.interceptors import CallInterceptor
from server.api.operations import OperationServicer
from server.api.push_notifications import PushNotificationServicer
from server.api.server import ApiServer
from server.api.users import UserServicer
from server.api.webhooks import WebhookServicer
from server.providers.measuring import measure
from server.providers.sealing import Sealer
from server.rendering.renderer import Renderer
from server.store.accounts import Accounts
from server.store.apps import Apps
from server.store.cancellations import Cancellations
from server.store.credentials import Credentials
from server.store.database import Database
from server.store.jobs import Jobs
from server.store.notifications import Notifications
from server.store.operations import Operations
from server.store.registrations import Registrations
from server.store.users import Users
from server.store.webhooks import Webhooks
from server.webhooks.addresses import AddressRules


class _Unheard:
    """No worker and no watcher listens."""

    def announce_jobs(self) -> None: ...
    def announce_feed(self, account_id: UUID) -> None: ...


def api_server(database: Database, parse: Any) -> ApiServer:
    """All services but the status stream, on a free port. ``parse`` checks uploaded credentials."""
    renderer, unheard = Renderer(), _Unheard()
    operations, notifications = Operations(database), Notifications(database)
    servicers = (
        AppServicer(Apps(database)),
        CredentialServicer(Credentials(database), parse, Sealer([bytes(32)]), unheard),
        DeviceRegistrationServicer(Registrations(database)),
        UserServicer(Users(database)),
        WebhookServicer(Webhooks(database), Sealer([bytes(32)]), AddressRules().problem),
        PushNotificationServicer(
            operations, notifications, renderer, DryRuns(Jobs(database), renderer, measure), unheard
        ),
        OperationServicer(operations, notifications, Cancellations(database), unheard),
    )
    return ApiServer("127.0.0.1:0", servicers, CallInterceptor(Authenticator(Accounts(database))))
