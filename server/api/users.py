"""UserService: the people whose devices are registered."""

from __future__ import annotations

from typing import Any, Protocol
from uuid import UUID

import grpc
from pharos.push.v1 import users_pb2, users_pb2_grpc

from server.api.calls import current_account
from server.api.convert import id_in_path, timestamp
from server.domain import ids
from server.domain.errors import NotFound, NotImplementedYet
from server.domain.ids import Kind
from server.domain.users import User

Context = grpc.aio.ServicerContext[Any, Any]


class Users(Protocol):
    """Where users are kept."""

    async def get(self, account: UUID, user_id: UUID) -> User | None: ...


class UserServicer(users_pb2_grpc.UserServiceServicer):
    def __init__(self, users: Users) -> None:
        self._users = users

    async def GetUser(self, request: users_pb2.GetUserRequest, context: Context) -> users_pb2.GetUserResponse:
        user = await self._users.get(current_account(), id_in_path(Kind.USER, request.user_id))
        if user is None:
            raise NotFound("there is no such user")
        return users_pb2.GetUserResponse(user=_message(user))

    async def ListUsers(self, request: users_pb2.ListUsersRequest, context: Context) -> users_pb2.ListUsersResponse:
        raise NotImplementedYet("users can't be listed yet")

    async def DeleteUser(self, request: users_pb2.DeleteUserRequest, context: Context) -> users_pb2.DeleteUserResponse:
        raise NotImplementedYet("users can't be deleted yet")


def _message(user: User) -> users_pb2.User:
    return users_pb2.User(
        id=ids.encode(Kind.USER, user.user_id),
        created_at=timestamp(user.created_at),
        updated_at=timestamp(user.updated_at),
        deleted_at=timestamp(user.deleted_at),
    )
