"""What the benchmarks say about processes, checked on processes of which it is known."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.benchmarks import accounting

_BURN = "import time\nwhile time.process_time() < 0.3: pass\n"
_WAIT = "print('ready', flush=True); input()"
_CHILDREN = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_BURN!r}]); {_WAIT}"
_GRANDCHILD = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {_BURN + _WAIT!r}])"
_THREADS = f"import threading; t = threading.Thread(target=exec, args=({_BURN!r},)); t.start(); t.join(); {_WAIT}"
_LARGE = f"text = b'x' * (64 << 20); del text; {_WAIT}"


@contextmanager
def running(program: str) -> Iterator[int]:
    """A Python program until it waits for its input; its process id."""
    with subprocess.Popen(  # noqa: S603 - the programs above
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield process.pid
        process.communicate("\n")


@pytest.mark.parametrize("program", [_BURN + _WAIT, _CHILDREN, _GRANDCHILD, _THREADS])
def test_cpu_is_that_of_the_process_its_threads_and_all_below_it(program: str) -> None:
    with running(program) as pid, running(_WAIT) as idle:
        spent = accounting.cpu_seconds({"busy": [pid], "idle": [idle], "both": [pid, idle]})
    assert 0.3 <= spent["busy"] < 1.0
    assert spent["idle"] < 0.3
    assert spent["both"] == pytest.approx(spent["busy"] + spent["idle"], abs=0.02)


def test_peak_memory_is_the_largest_single_process_ever_was() -> None:
    with running(_LARGE) as large, running(_WAIT) as small:
        peaks = accounting.peak_mib({"both": [large, small], "small": [small]})
    assert 64 < peaks["both"] < 64 + 2 * peaks["small"]


def test_what_has_ended_has_used_nothing() -> None:
    with running(_WAIT) as pid:
        pass
    assert accounting.cpu_seconds({"gone": [pid]}) == {"gone": 0.0}
    assert accounting.peak_mib({"gone": [pid]}) == {"gone": 0.0}
