"""The end of the simulator's process: it waits for no thread that still copies or removes a disk."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor

_WORKER = "simulator-worker"


class _Workers(ThreadPoolExecutor):
    """Its end waits for nobody; asyncio would, for as long as the slowest disk takes."""

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        super().shutdown(wait=False, cancel_futures=True)


def run_to_the_end(main: Coroutine[None, None, None]) -> None:
    """Run it in a loop of its own. When it has ended and threads of it have not, the process ends here and now with code 0: everything
    that has to be kept was written by then, and what is left is a directory that nobody needs. Raises what it raises."""
    with asyncio.Runner() as runner:
        runner.get_loop().set_default_executor(_Workers(thread_name_prefix=_WORKER))
        runner.run(main)
    if any(thread.name.startswith(_WORKER) for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
