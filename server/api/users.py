"""UserService: the people whose devices are registered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol
from uuid import UUID

import grpc
from pharos.push.v1 import users_pb2, users_pb2_grpc

from server.api import pages
from server.api.calls import current_account
from server.api.convert import BASE_PATH, id_in_path, timestamp
from server.domain import ids
from server.domain.errors import NotFound
from server.domain.ids import Kind
from server.domain.users import User

Context = grpc.aio.ServicerContext[Any, Any]


class Users(Protocol):
    """Where users are kept."""

    async def get(self, account: UUID, user_id: UUID) -> User | None: ...

    async def newest(self, account: UUID, first: UUID, limit: int) -> Sequence[User]: ...

    async def delete(self, account: UUID, user_id: UUID) -> None: ...


class UserServicer(users_pb2_grpc.UserServiceServicer):
    def __init__(self, users: Users) -> None:
        self._users = users

    async def GetUser(self, request: users_pb2.GetUserRequest, context: Context) -> users_pb2.GetUserResponse:
        user = await self._users.get(current_account(), id_in_path(Kind.USER, request.user_id))
        if user is None:
            raise NotFound("there is no such user")
        return users_pb2.GetUserResponse(user=_message(user))

    async def ListUsers(self, request: users_pb2.ListUsersRequest, context: Context) -> users_pb2.ListUsersResponse:
        account = current_account()
        users, pagination = await pages.newest_first(
            request, lambda first, limit: self._users.newest(account, first, limit), lambda user: user.user_id
        )
        return users_pb2.ListUsersResponse(users=[_message(user) for user in users], pagination=pagination)

    async def DeleteUser(self, request: users_pb2.DeleteUserRequest, context: Context) -> users_pb2.DeleteUserResponse:
        user_id = id_in_path(Kind.USER, request.user_id)
        await self._users.delete(current_account(), user_id)
        name = ids.encode(Kind.USER, user_id)
        return users_pb2.DeleteUserResponse(resource_id=name, resource_location=f"{BASE_PATH}/Users/{name}")


def _message(user: User) -> users_pb2.User:
    return users_pb2.User(
        id=ids.encode(Kind.USER, user.user_id),
        created_at=timestamp(user.created_at),
        updated_at=timestamp(user.updated_at),
        deleted_at=timestamp(user.deleted_at),
    )
