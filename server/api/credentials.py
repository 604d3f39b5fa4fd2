"""CredentialService: what the service proves itself with to FCM and APNs. Content comes in and never out."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

import grpc
from pharos.push.v1 import credentials_pb2 as pb
from pharos.push.v1 import credentials_pb2_grpc

from server.api.calls import current_account
from server.api.convert import BASE_PATH, CREDENTIAL_TYPE_NUMBERS, CREDENTIAL_TYPES, id_in_path, timestamp
from server.api.requests import request_key, result_of
from server.domain import ids
from server.domain.apps import Credential, NewCredential
from server.domain.credentials import CredentialContent, CredentialType, InvalidCredentialContent, seal_context
from server.domain.errors import Invalid, NotFound, NotImplementedYet, Violation
from server.domain.ids import Kind
from server.domain.requests import Done, RequestKey

Context = grpc.aio.ServicerContext[Any, Any]


class Credentials(Protocol):
    """Where credentials are kept."""

    async def new_id(self) -> UUID: ...

    async def create(self, account: UUID, new: NewCredential, key: RequestKey | None = None) -> Done[UUID]: ...

    async def repeated(self, account: UUID, key: RequestKey) -> Done[UUID] | None: ...

    async def get(self, account: UUID, credential_id: UUID) -> Credential | None: ...


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


class CredentialServicer(credentials_pb2_grpc.CredentialServiceServicer):
    def __init__(self, credentials: Credentials, parse: Parser, sealer: Sealer) -> None:
        self._credentials = credentials
        self._parse = parse
        self._sealer = sealer

    async def CreateCredential(
        self, request: pb.CreateCredentialRequest, context: Context
    ) -> pb.CreateCredentialResponse:
        name = ids.encode(Kind.CREDENTIAL, result_of(await self._create(current_account(), request), context))
        return pb.CreateCredentialResponse(resource_id=name, resource_location=_location(name))

    async def GetCredential(self, request: pb.GetCredentialRequest, context: Context) -> pb.GetCredentialResponse:
        credential_id = id_in_path(Kind.CREDENTIAL, request.credential_id)
        credential = await self._credentials.get(current_account(), credential_id)
        if credential is None:
            raise NotFound("there is no such credential")
        return pb.GetCredentialResponse(credential=_message(credential))

    async def ListCredentials(self, request: pb.ListCredentialsRequest, context: Context) -> pb.ListCredentialsResponse:
        raise NotImplementedYet("credentials can't be listed yet")

    async def UpdateCredential(
        self, request: pb.UpdateCredentialRequest, context: Context
    ) -> pb.UpdateCredentialResponse:
        raise NotImplementedYet("credentials can't be changed yet")

    async def DeleteCredential(
        self, request: pb.DeleteCredentialRequest, context: Context
    ) -> pb.DeleteCredentialResponse:
        raise NotImplementedYet("credentials can't be deleted yet")

    async def _create(self, account: UUID, request: pb.CreateCredentialRequest) -> Done[UUID]:
        """Carry the request out, or find what an earlier equal one came to: its certificate may have expired since."""
        key = request_key(request)
        earlier = await self._credentials.repeated(account, key) if key else None
        if earlier is not None:
            return earlier
        return await self._credentials.create(account, await self._new_credential(account, request), key)

    async def _new_credential(self, account: UUID, request: pb.CreateCredentialRequest) -> NewCredential:
        credential_type = CREDENTIAL_TYPES[request.credential_type]
        parsed = await self._parsed(credential_type, request.content)
        credential_id = await self._credentials.new_id()
        return NewCredential(
            credential_id,
            credential_type,
            self._sealer.seal(parsed.secret, seal_context(str(account), credential_id)),
            parsed.not_after,
            request.app_name or None,
            request.is_default,
        )

    async def _parsed(self, credential_type: CredentialType, content: pb.CredentialContent) -> ParsedCredential:
        """In a thread: the check of a key takes tens of milliseconds."""
        try:
            return await asyncio.to_thread(self._parse, credential_type, _content(content))
        except InvalidCredentialContent as error:
            raise Invalid(*_violations(error)) from None


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
    )


def _location(name: str) -> str:
    return f"{BASE_PATH}/Credentials/{name}"
