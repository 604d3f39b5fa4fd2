"""Whom a claimed job reaches, as the tables say it at that moment."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest

from server.domain.credentials import CredentialType
from server.domain.jobs import Expansion, UserDevice
from server.domain.operations import Recipient
from server.domain.pushes import Provider
from server.store.jobs import Jobs
from tests.integration.store.sending import Sending, tokens, users

_FCM, _APN, _SANDBOX = CredentialType.FCM, CredentialType.APN, CredentialType.APN_SANDBOX


async def expanded(sending: Sending, jobs: Jobs) -> dict[int, Expansion]:
    job = await sending.claim_one()
    return await jobs.expand(job.lease.account_id, job.app_id, job.recipients)


async def _expanded(sending: Sending, jobs: Jobs, *user_ids: UUID) -> list[Expansion]:
    await sending.accept(users(*user_ids))
    found = await expanded(sending, jobs)
    return [found[index] for index in range(len(user_ids))]


async def test_a_user_is_expanded_to_the_devices_oldest_first(sending: Sending, jobs: Jobs) -> None:
    user = await sending.user("z", "y", "x")
    await sending.register("a0", user, Provider.APN)
    await sending.register("z", user)  # again: it keeps its place
    (found,) = await _expanded(sending, jobs, user)
    fcm = [UserDevice(Provider.FCM, token) for token in ("z", "y", "x")]
    assert found == Expansion(known=True, deleted=False, devices=[*fcm, UserDevice(Provider.APN, "a0")])


async def test_each_kind_of_user_without_a_device_is_told_apart(sending: Sending, jobs: Jobs) -> None:
    lonely, deleted = await sending.user(), await sending.user("d")
    await sending.fetch("update users set deleted_at = now() where user_id = $1", deleted)
    stranger = await (await Sending.start(sending.database)).user("s")
    found = await _expanded(sending, jobs, uuid4(), stranger, deleted, lonely)
    assert found == [
        Expansion(known=False, deleted=False, devices=[]),
        Expansion(known=False, deleted=False, devices=[]),
        Expansion(known=True, deleted=True, devices=[]),
        Expansion(known=True, deleted=False, devices=[]),
    ]


async def test_a_user_named_twice_is_expanded_twice(sending: Sending, jobs: Jobs) -> None:
    user = await sending.user("a")
    first, second = await _expanded(sending, jobs, user, user)
    assert first == second
    assert len(first.devices) == 1


async def test_devices_of_another_app_are_not_reached(sending: Sending, jobs: Jobs) -> None:
    await sending.credential(_FCM, app_name="other")
    user = await sending.user("a")
    app, name = await sending.fetch("select app_id, name from apps where name = 'other'"), "other"
    await sending.accept(users(user), app_id=app[0]["app_id"], app_name=name)
    found = await expanded(sending, jobs)
    assert found == {0: Expansion(known=True, deleted=False, devices=[])}


async def test_tokens_are_not_expanded(sending: Sending, jobs: Jobs) -> None:
    user = await sending.user("a")
    await sending.accept([*tokens(1), Recipient(user_id=user)])
    assert list(await expanded(sending, jobs)) == [1]


async def _used(sending: Sending, jobs: Jobs, **named: UUID) -> set[UUID]:
    await sending.accept(1, **named)
    return {credential.credential_id for credential in await jobs.credentials(await sending.claim_one())}


async def test_a_send_that_names_no_credential_uses_the_defaults_of_its_due_time(sending: Sending, jobs: Jobs) -> None:
    await sending.accept(1)
    newer = await sending.credential(_FCM, is_default=True)
    apn, sandbox = await sending.credential(_APN), await sending.credential(_SANDBOX)
    await sending.credential(_FCM, app_name="other")
    found = await jobs.credentials(await sending.claim_one())
    assert {(each.credential_id, each.credential_type) for each in found} == {
        (newer, _FCM), (apn, _APN), (sandbox, _SANDBOX),
    }  # fmt: skip
    assert {(each.sealed, each.version, each.account_id) for each in found} == {(b"sealed", 1, str(sending.account))}


async def test_a_named_credential_replaces_the_default_of_its_provider_only(sending: Sending, jobs: Jobs) -> None:
    apn = await sending.credential(_APN)
    named = await sending.credential(_FCM)
    assert await _used(sending, jobs, fcm_credential=named) == {named, apn}


async def test_a_named_sandbox_credential_replaces_both_apn_defaults(sending: Sending, jobs: Jobs) -> None:
    await sending.credential(_APN)
    sandbox = await sending.credential(_SANDBOX)
    assert await _used(sending, jobs, apn_credential=sandbox) == {sending.fcm, sandbox}


@pytest.mark.parametrize("deleted", ["named", "default"])
async def test_i9_a_credential_deleted_meanwhile_is_not_used_nor_replaced_by_the_default(
    sending: Sending, jobs: Jobs, deleted: str
) -> None:
    named = await sending.credential(_FCM)
    await sending.accept(1, **({"fcm_credential": named} if deleted == "named" else {}))
    await sending.delete_credential(named if deleted == "named" else sending.fcm)
    assert await jobs.credentials(await sending.claim_one()) == []
