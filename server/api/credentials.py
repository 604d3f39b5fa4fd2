"""CredentialService: what the service proves itself with to FCM and APNs. Content comes in and never out."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import grpc
from pharos.push.v1 import credentials_pb2 as pb
from pharos.push.v1 import credentials_pb2_grpc

from server.api import pages
from server.api.calls import current_account
from server.api.convert import BASE_PATH, CREDENTIAL_TYPE_NUMBERS, CREDENTIAL_TYPES, id_in_path, timestamp
from server.api.filters import period
from server.api.notices import health_message
from server.api.requests import request_key, result_of
from server.domain import ids
from server.domain.apps import Credential, CredentialChange, CredentialFilter, NewContent, NewCredential
from server.domain.credentials import CredentialContent, CredentialType, InvalidCredentialContent, seal_context
from server.domain.errors import Invalid, NotFound, Violation
from server.domain.ids import Kind
from server.domain.requests import Done, RequestKey

Context = grpc.aio.ServicerContext[Any, Any]


class Credentials(Protocol):
    """Where credentials are kept."""

    async def new_id(self) -> UUID: ...

    async def create(self, account: UUID, new: NewCredential, key: RequestKey | None = None) -> Done[UUID]: ...

    async def repeated(self, account: UUID, key: RequestKey) -> Done[UUID] | None: ...

    async def get(self, account: UUID, credential_id: UUID) -> Credential | None: ...

    async def newest(
        self, account: UUID, wanted: CredentialFilter, first: UUID, limit: int
    ) -> Sequence[Credential]: ...

    async def update(self, account: UUID, credential_id: UUID, change: CredentialChange) -> None: ...

    async def delete(self, account: UUID, credential_id: UUID) -> None: ...


class ParsedCredential(Protocol):
    """A usable credential: what to seal, and the end of its certificate's validity."""

    @property
    def secret(self) -> bytes: ...

    @property
    def not_after(self) -> datetime | None: ...


class Parser(Protocol):
    """Checks uploaded content. Raises ``InvalidCredentialContent``."""

    def __call__(self, credential_type: CredentialType, content: CredentialContent, /) -> ParsedCredential: ...


class Sealer(Protocol):
    """Encrypts a secret for one place."""

    def seal(self, plaintext: bytes, context: str) -> bytes: ...


class Announcer(Protocol):
    """Tells other processes that there are jobs, or that an account's feed has grown."""

    def announce_jobs(self) -> None: ...

    def announce_feed(self, account_id: UUID) -> None: ...


class CredentialServicer(credentials_pb2_grpc.CredentialServiceServicer):
    def __init__(self, credentials: Credentials, parse: Parser, sealer: Sealer, announcer: Announcer) -> None:
        self._credentials = credentials
        self._parse = parse
        self._sealer = sealer
        self._announcer = announcer

    async def CreateCredential(
        self, request: pb.CreateCredentialRequest, context: Context
    ) -> pb.CreateCredentialResponse:
        name = ids.encode(Kind.CREDENTIAL, result_of(await self._create(current_account(), request), context))
        return pb.CreateCredentialResponse(resource_id=name, resource_location=_location(name))

    async def GetCredential(self, request: pb.GetCredentialRequest, context: Context) -> pb.GetCredentialResponse:
        credential_id = id_in_path(Kind.CREDENTIAL, request.credential_id)
        return pb.GetCredentialResponse(credential=_message(await self._get(current_account(), credential_id)))

    async def ListCredentials(self, request: pb.ListCredentialsRequest, context: Context) -> pb.ListCredentialsResponse:
        account, wanted = current_account(), _filter(request)
        found, pagination = await pages.newest_first(
            request,
            lambda first, limit: self._credentials.newest(account, wanted, first, limit),
            lambda credential: credential.credential_id,
        )
        return pb.ListCredentialsResponse(
            credentials=[_message(credential) for credential in found], pagination=pagination
        )

    async def UpdateCredential(
        self, request: pb.UpdateCredentialRequest, context: Context
    ) -> pb.UpdateCredentialResponse:
        account, credential_id = current_account(), id_in_path(Kind.CREDENTIAL, request.credential_id)
        is_default = request.is_default if request.HasField("is_default") else None
        content = None
        if request.HasField("content"):
            content = await self._new_content(account, credential_id, request.content)
        elif is_default is None:
            raise Invalid(Violation("is_default", "is required where content is not given"))
        await self._credentials.update(account, credential_id, CredentialChange(is_default, content))
        self._announce(account)
        name = ids.encode(Kind.CREDENTIAL, credential_id)
        return pb.UpdateCredentialResponse(resource_id=name, resource_location=_location(name))

    async def DeleteCredential(
        self, request: pb.DeleteCredentialRequest, context: Context
    ) -> pb.DeleteCredentialResponse:
        account, credential_id = current_account(), id_in_path(Kind.CREDENTIAL, request.credential_id)
        await self._credentials.delete(account, credential_id)
        self._announce(account)
        name = ids.encode(Kind.CREDENTIAL, credential_id)
        return pb.DeleteCredentialResponse(resource_id=name, resource_location=_location(name))

    async def _get(self, account: UUID, credential_id: UUID) -> Credential:
        credential = await self._credentials.get(account, credential_id)
        if credential is None:
            raise NotFound("there is no such credential")
        return credential

    async def _create(self, account: UUID, request: pb.CreateCredentialRequest) -> Done[UUID]:
        """Carry the request out, or find what an earlier equal one came to: its certificate may have expired since."""
        key = request_key(request)
        earlier = await self._credentials.repeated(account, key) if key else None
        if earlier is not None:
            return earlier
        done = await self._credentials.create(account, await self._new_credential(account, request), key)
        self._announce(account)
        return done

    def _announce(self, account: UUID) -> None:
        """What waited for a credential may go on, and its health may be news."""
        self._announcer.announce_jobs()
        self._announcer.announce_feed(account)

    async def _new_credential(self, account: UUID, request: pb.CreateCredentialRequest) -> NewCredential:
        credential_type = CREDENTIAL_TYPES[request.credential_type]
        parsed = await self._parsed(credential_type, request.content)
        credential_id = await self._credentials.new_id()
        return NewCredential(
            credential_id,
            credential_type,
            self._seal(parsed, account, credential_id),
            parsed.not_after,
            request.app_name or None,
            request.is_default,
        )

    async def _new_content(self, account: UUID, credential_id: UUID, content: pb.CredentialContent) -> NewContent:
        """Of the type that the credential has, which can't change."""
        parsed = await self._parsed((await self._get(account, credential_id)).credential_type, content)
        return NewContent(self._seal(parsed, account, credential_id), parsed.not_after)

    def _seal(self, parsed: ParsedCredential, account: UUID, credential_id: UUID) -> bytes:
        return self._sealer.seal(parsed.secret, seal_context(str(account), credential_id))

    async def _parsed(self, credential_type: CredentialType, content: pb.CredentialContent) -> ParsedCredential:
        """In a thread: the check of a key takes tens of milliseconds."""
        try:
            return await asyncio.to_thread(self._parse, credential_type, _content(content))
        except InvalidCredentialContent as error:
            raise Invalid(*_violations(error)) from None


def _filter(request: pb.ListCredentialsRequest) -> CredentialFilter:
    return CredentialFilter(
        request.app_name or None,
        CREDENTIAL_TYPES[request.credential_type] if request.credential_type else None,
        request.is_default if request.HasField("is_default") else None,
        period(request),
    )


def _content(message: pb.CredentialContent) -> CredentialContent:
    return CredentialContent(
        message.private_key or None,
        message.certificate or None,
        message.key_id or None,
        message.team_id or None,
        message.topic or None,
    )


def _violations(error: InvalidCredentialContent) -> Iterator[Violation]:
    for field, message in error.problems:
        yield Violation(re.sub(r"[A-Z]", lambda capital: f"_{capital[0].lower()}", field), message)


def _message(credential: Credential) -> pb.Credential:
    return pb.Credential(
        id=ids.encode(Kind.CREDENTIAL, credential.credential_id),
        credential_type=CREDENTIAL_TYPE_NUMBERS[credential.credential_type],
        is_default=credential.is_default,
        app_name=credential.app_name,
        created_at=timestamp(credential.created_at),
        updated_at=timestamp(credential.updated_at),
        health=health_message(credential.health),
    )


def _location(name: str) -> str:
    return f"{BASE_PATH}/Credentials/{name}"
