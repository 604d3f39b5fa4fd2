"""Every case of cases/, under both versions."""

from __future__ import annotations

import pytest

from tests.conformance.cases import Case, all_cases
from tests.conformance.runner import Run


@pytest.mark.parametrize("case", all_cases(), ids=lambda case: case.name)
async def test_the_contract(run: Run, case: Case) -> None:
    await run.carry_out(case)
