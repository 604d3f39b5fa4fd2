"""Enums as the small integers that stand in the tables: the numbers of the contract's enums."""

from __future__ import annotations

from server.domain.credentials import CredentialType
from server.domain.pushes import Provider

PROVIDERS = {Provider.FCM: 1, Provider.APN: 2}
PROVIDER_OF = {number: provider for provider, number in PROVIDERS.items()}

CREDENTIAL_TYPES = {CredentialType.FCM: 1, CredentialType.APN: 2, CredentialType.APN_SANDBOX: 3}
CREDENTIAL_TYPE_OF = {number: credential_type for credential_type, number in CREDENTIAL_TYPES.items()}
