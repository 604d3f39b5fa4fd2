"""Which app and credentials a send uses: those it names, else the account's default app and its defaults."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol, TypeVar
from uuid import UUID

from pharos.push.v1 import push_notifications_pb2

from server.api.convert import id_in_field
from server.api.problems import Problems
from server.domain.credentials import CredentialType
from server.domain.errors import Invalid, Violation
from server.domain.ids import Kind
from server.domain.operations import SenderCredential

T = TypeVar("T")

_TYPES: Final = {
    "fcm": frozenset({CredentialType.FCM}),
    "apn": frozenset({CredentialType.APN, CredentialType.APN_SANDBOX}),
}


class SenderStore(Protocol):
    """Where apps and credentials are looked up."""

    async def app(self, account: UUID, name: str | None) -> tuple[UUID, str] | None: ...
    async def sender_credentials(
        self, account: UUID, named: Sequence[UUID], app: UUID | None
    ) -> list[SenderCredential]: ...


@dataclass(frozen=True, slots=True)
class Sender:
    """``fcm`` and ``apn`` are set only where the request named them; ``types`` are all that can be used."""

    app_id: UUID
    app_name: str
    fcm: UUID | None
    apn: UUID | None
    types: frozenset[CredentialType]


async def resolve_sender(store: SenderStore, account: UUID, sender: push_notifications_pb2.Sender) -> Sender:
    """Return what the send uses. Raises ``Invalid`` naming the field."""
    named = _named(sender)
    app = await _app(store, account, sender, required=not named)
    credentials = await store.sender_credentials(account, list(named.values()), app[0] if app else None)
    chosen = _each(named, lambda name: _chosen(name, named[name], credentials))
    app_id, app_name = app or next((credential.app_id, credential.app_name) for credential in chosen.values())
    for name, credential in chosen.items():
        if credential.app_id != app_id:
            raise Invalid(Violation(f"sender.{name}", f"is not a credential of the app {app_name}"))
    if app is None:  # the defaults of the app that the named credentials brought
        credentials += await store.sender_credentials(account, (), app_id)
    return Sender(
        app_id, app_name, named.get("fcm"), named.get("apn"), frozenset(each.credential_type for each in credentials)
    )


async def _app(
    store: SenderStore, account: UUID, sender: push_notifications_pb2.Sender, *, required: bool
) -> tuple[UUID, str] | None:
    if sender.HasField("app_name"):
        app = await store.app(account, sender.app_name)
        if app is None:
            raise Invalid(Violation("sender.app_name", "there is no such app"))
        return app
    if not required:
        return None
    app = await store.app(account, None)
    if app is None:
        raise Invalid(Violation("sender", "the account has no app: upload a credential first"))
    return app


def _named(sender: push_notifications_pb2.Sender) -> Mapping[str, UUID]:
    given = {field.name: value for field, value in sender.ListFields() if field.name in _TYPES}
    return _each(given, lambda name: id_in_field(Kind.CREDENTIAL, given[name], f"sender.{name}"))


def _each(names: Iterable[str], find: Callable[[str], T]) -> dict[str, T]:
    """What each name stands for. Raises ``Invalid`` with what is wrong with any of them."""
    problems = Problems()
    found = {name: problems.collect(partial(find, name)) for name in names}
    problems.raise_any()
    return {name: value for name, value in found.items() if value is not None}


def _chosen(name: str, wanted: UUID, credentials: Sequence[SenderCredential]) -> SenderCredential:
    for credential in credentials:
        if credential.credential_id == wanted:
            if credential.credential_type not in _TYPES[name]:
                raise Invalid(Violation(f"sender.{name}", f"is a credential of type {credential.credential_type}"))
            return credential
    raise Invalid(Violation(f"sender.{name}", "there is no such credential"))
