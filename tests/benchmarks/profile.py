"""Where a worker's time goes: the send of the end-to-end figure under Python's profiler. For reading, not for figures."""

from __future__ import annotations

import io
import pstats
import tempfile
from pathlib import Path

from tests.benchmarks import stack, target
from tests.benchmarks.figure import Sizes
from tests.benchmarks.messages import Send

_SHOWN = 40


async def profile(sizes: Sizes) -> str:
    """The functions of one worker that took the most time themselves, as a text. The profiler makes all of it slower."""
    with tempfile.TemporaryDirectory(prefix="pharos-bench-") as name:
        folder = Path(name)
        (folder / "nginx").mkdir()
        send = Send("FCM", sizes.recipients, personalised=True)
        async with target.running(folder / "nginx", 100) as nginx:
            async with stack.running(folder / "pharos", nginx) as running:
                await running.start_workers(1, profile=folder / "worker.prof")
                for _ in range(sizes.sends):
                    mark = nginx.mark()
                    await running.delivered([await running.accept(send.rest_body())], mark, [send])
        return _text(folder / "worker.prof")


def _text(file: Path) -> str:
    written = io.StringIO()
    pstats.Stats(str(file), stream=written).strip_dirs().sort_stats("tottime").print_stats(_SHOWN)
    return written.getvalue()
