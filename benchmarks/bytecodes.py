"""Our own work for a lieutenant from nothing to Ready, counted. `python -m benchmarks.bytecodes [COUNT]`

Seconds of CPU differ by half between two runs on a busy machine. How many bytecodes of Python are executed hardly differs, so it shows what
a change saves or costs. It is no time: what runs in C (JSON, pydantic's core, SQLite, sockets) is not in it. One lieutenant is Ready before
the count begins, so what is made once in the life of a controller is not in it either. Counting makes it slow, so what depends on
passed time (status written now and then, looks that are too old, turns that took long) is left out.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from benchmarks.common import table
from benchmarks.fleet import controller, converge, declare, platform, ready
from reconciler.app import long_lived
from reconciler.engine import loop, queue
from reconciler.engine.kinds import lieutenant

COUNT = 60
LARGEST = 25


async def counted(count: int, directory: Path) -> Counter[CodeType]:
    """Bytecodes by function. Raises `AssertionError` when the fleet did not get there."""
    found: Counter[CodeType] = Counter()

    def begun(frame: FrameType, event: str, value: Any) -> Any:
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        code = frame.f_code

        def within(frame: FrameType, event: str, value: Any) -> Any:
            if event == "opcode":
                found[code] += 1
            return within

        return within

    with platform(0.02) as at:
        async with controller(at, directory) as engine:
            await declare(engine, 1)
            await converge(engine)
            sys.settrace(begun)
            await declare(engine, count + 1)
            await converge(engine)
            sys.settrace(None)
            assert ready(engine) == count + 1, f"{ready(engine)} of {count + 1} are Ready"
    return found


def main() -> int:
    """Measure and print."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else COUNT
    long_lived()
    loop.REPORT_EVERY = lieutenant.KNOWN_SECONDS = queue.TURN = float("inf")
    with tempfile.TemporaryDirectory() as directory:
        found = asyncio.run(counted(count, Path(directory)))
    rows = [(n // count, f"{Path(c.co_filename).name}:{c.co_firstlineno}", c.co_name) for c, n in found.most_common(LARGEST)]
    table(f"Bytecodes a lieutenant: {found.total() // count:,}", ("bytecodes", "where", "function"), rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
