"""Which credential a device is reached with, and what Apple's two environments make of a token.

A token belongs to one of Apple's environments; in the other one it is a BadDeviceToken. So that answer proves a device
dead only where no environment is left in which it may be alive.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final
from uuid import UUID

from server.domain.credentials import CredentialType, SealedCredential
from server.domain.delivery import DeviceState, LearnedEnvironment, RecipientState
from server.domain.devices import Environment
from server.domain.jobs import by_provider
from server.domain.outcomes import Accepted, Outcome, Rejected
from server.domain.pushes import Provider
from server.domain.reasons import Reason

_ENVIRONMENTS: Final = {
    CredentialType.APN: Environment.PRODUCTION,
    CredentialType.APN_SANDBOX: Environment.DEVELOPMENT,
}


class Routes:
    """The credentials of a job, by what they reach. ``named_apn`` is the one that its send asked for, if any."""

    def __init__(self, credentials: Sequence[SealedCredential], named_apn: UUID | None = None) -> None:
        self._usual = by_provider(credentials)
        self._apn = {
            _ENVIRONMENTS[each.credential_type]: each for each in credentials if each.credential_type in _ENVIRONMENTS
        }
        development = self._apn.get(Environment.DEVELOPMENT)
        self._development_by_name = development is not None and development.credential_id == named_apn

    @property
    def providers(self) -> Collection[Provider]:
        """Those that can be called."""
        return self._usual.keys()

    def usual(self, provider: Provider) -> UUID | None:
        """Return the credential that the provider's devices are reached with where nothing else is known of them."""
        credential = self._usual.get(provider)
        return credential.credential_id if credential else None

    def credential(self, device: DeviceState) -> SealedCredential:
        """Return the credential to call the device's provider with now. Raises ``KeyError`` where there is none."""
        if device.provider is Provider.FCM:
            return self._usual[device.provider]
        return self._apn[self._environment(device)]

    def first(self, device: DeviceState) -> SealedCredential:
        """Return the credential that the device was first called with: what many deaths say something about."""
        if device.refused_in in self._apn:
            return self._apn[device.refused_in]
        return self.credential(device)

    def turn(self, device: DeviceState, outcome: Outcome) -> bool:
        """Direct a device that one environment does not know to the other one, once; say whether it was.

        It is to be called again at once, with the same push id: the first call delivered nothing.
        """
        if not isinstance(outcome, Rejected) or not _bad_device_token(device, outcome) or device.refused_in:
            return False
        asked = self._environment(device)
        if asked.other not in self._apn:
            return False
        device.refuse_in(asked, outcome.code)
        return True

    def kills(self, device: DeviceState, outcome: Outcome) -> bool:
        """Whether the outcome proves that the device is dead, wherever it may belong."""
        if not isinstance(outcome, Rejected) or not outcome.device_dead:
            return False
        if not _bad_device_token(device, outcome) or device.refused_in:
            return True
        if device.environment:
            return device.environment is self._environment(device)
        return not self._development_by_name  # a try in development says nothing about an app from the store

    def learned(self, state: RecipientState, device: DeviceState, outcome: Outcome) -> LearnedEnvironment | None:
        """Return what to remember of a registered device's environment after this outcome, if anything.

        Production is the assumption where nothing is known, so it is worth a write only as a correction.
        """
        if not isinstance(outcome, Accepted) or device.provider is Provider.FCM or state.user_id is None:
            return None
        found = self._environment(device)
        if found is device.environment or not (device.environment or device.refused_in):
            return None
        return LearnedEnvironment(device.token, found)

    def _environment(self, device: DeviceState) -> Environment:
        """The one to try the device in: where it may be alive, and for which there is a credential."""
        wanted = device.refused_in.other if device.refused_in else device.environment or Environment.PRODUCTION
        return wanted if wanted in self._apn else wanted.other


def _bad_device_token(device: DeviceState, rejected: Rejected) -> bool:
    return device.provider is Provider.APN and rejected.reason is Reason.INVALID_TOKEN
