"""What a provider counts together, whoever asks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Project:
    """The pushes that one quota is for, in pushes a second; None where the provider names none."""

    name: str
    quota: float | None = None
