from __future__ import annotations

import pytest

from server.store.database import Database
from server.store.jobs import Jobs
from tests.integration.store.sending import Sending


@pytest.fixture
async def sending(database: Database) -> Sending:
    """An account that can send."""
    return await Sending.start(database)


@pytest.fixture
def jobs(database: Database) -> Jobs:
    return Jobs(database)
