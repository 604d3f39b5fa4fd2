"""Where a worker's time goes: the send of the end-to-end figure under Python's profiler. To read, not to compare."""

from __future__ import annotations

import io
import pstats
import tempfile
from pathlib import Path

from tests.benchmarks import stack
from tests.benchmarks.figure import Sizes
from tests.benchmarks.messages import Send

_SHOWN = 40


async def profile(sizes: Sizes) -> str:
    """The functions of one worker that took the most time themselves, as a text. The profiler slows all of it down."""
    send = Send("FCM", sizes.recipients, personalised=True)
    with tempfile.TemporaryDirectory(prefix="pharos-bench-") as folder:
        file = Path(folder) / "worker.prof"
        async with stack.running() as running:
            await running.start_workers(1, profile=file)
            for _ in range(sizes.sends):
                mark = running.target.mark()
                await running.delivered([await running.accept(send.rest_body())], mark, [send])
        return _text(file)


def _text(file: Path) -> str:
    written = io.StringIO()
    pstats.Stats(str(file), stream=written).strip_dirs().sort_stats("tottime").print_stats(_SHOWN)
    return written.getvalue().partition("\n\n")[2]  # the header is the path of a file that is gone
