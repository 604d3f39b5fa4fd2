"""How large the runs are: small for every day, and with PHAROS_ROBUSTNESS=full (`make robustness`) full ones."""

from __future__ import annotations

import os
import random
from typing import Final

FULL: Final = os.environ.get("PHAROS_ROBUSTNESS") == "full"


def scaled(usual: int, full: int) -> int:
    return full if FULL else usual


def seeded(name: str) -> random.Random:
    """Chance that PHAROS_ROBUSTNESS_SEED repeats; what is printed shows with a failure."""
    seed = os.environ.get("PHAROS_ROBUSTNESS_SEED") or str(random.SystemRandom().randrange(10**9))
    print(f"PHAROS_ROBUSTNESS_SEED={seed}")  # noqa: T201 - for whoever has to repeat it
    return random.Random(f"{seed}-{name}")  # noqa: S311 - it chooses whom to kill
