"""Which tests go together to one of several workers (`pytest -n`), and which are taken first."""

from __future__ import annotations

import gc
from typing import Any, Final

import pytest
from xdist.scheduler import LoadScopeScheduling

# Folders whose tests share one running service: it starts once, and what hurts it disturbs no other folder's tests.
# They take longest, and so come first.
_OF_ONE_SERVICE: Final = ("tests/conformance/", "tests/acceptance/", "tests/robustness/", "tests/external/")
# Files that take half a minute or more: taken last, they would leave the other workers with nothing to do.
_LONG: Final = (
    "tests/contract/test_transports_",
    "tests/integration/test_localpg.py",
    "tests/unit/client/test_up.py",
    "tests/unit/providers/test_http2_fuzz.py",
    "tests/unit/rendering/test_properties.py",
)
_FIRST: Final = (*_OF_ONE_SERVICE, *_LONG)


class ByService(LoadScopeScheduling):
    """A worker takes a folder of one service, or else a file; files nobody named here come in the usual order."""

    def _split_scope(self, nodeid: str) -> str:
        return unit_of(nodeid)


def unit_of(nodeid: str) -> str:
    """What is run by one worker from its first test to its last."""
    return next((folder for folder in _OF_ONE_SERVICE if nodeid.startswith(folder)), nodeid.partition("::")[0])


@pytest.hookimpl(optionalhook=True)  # there is no such hook under `-p no:xdist`
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByService | None:
    """For `-n` alone; `--dist` asks for something else."""
    if config.getvalue("dist") != "load":
        return None
    config.option.loadscopereorder = False  # the number of its tests says little of how long a file takes
    return ByService(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """For the workers: what takes longest comes first."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: _rank(item.nodeid))


def pytest_collection_finish() -> None:
    """Tests that look for leaks collect garbage: not among thousands of tests and modules, which stay."""
    gc.freeze()


def _rank(nodeid: str) -> int:
    return next((rank for rank, start in enumerate(_FIRST) if nodeid.startswith(start)), len(_FIRST))
