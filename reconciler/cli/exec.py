"""`exec`: a command on the machine of an agent, with its streams and its exit code. No shell reads it; the agent is not asked."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler.cli import names
from reconciler.cli.access import reader
from reconciler.cli.read import one
from reconciler.config import Config
from reconciler.core.keys import Key
from reconciler.errors import ReconcilerError

if TYPE_CHECKING:
    from reconciler.agent.execs import Exec

PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def host_key(config: Config, lieutenant: str) -> Key:
    """`NAME` or `KIND/NAME` of a lieutenant."""
    return names.of_kind([lieutenant], "Lieutenant", config.namespace)


def exec_(
    config: Config,
    lieutenant: Annotated[str, typer.Argument(help="Whose machine.", show_default=False)],
    command: Annotated[list[str], typer.Argument(metavar="-- CMD…", help="The command, as a list; no shell reads it.", show_default=False)],
    stdin: Annotated[bool, typer.Option("--stdin", "-i", help="Hand our standard input to it.")] = False,
    directory: Annotated[str, typer.Option("--dir", metavar="PATH", help="Where it is started.", show_default="the work dir")] = "",
) -> None:
    """Run a command on the machine of an agent, beside the agent.

    Ends with the command's exit code."""
    raise typer.Exit(asyncio.run(_exec(config, host_key(config, lieutenant), command, stdin, directory)))


async def _exec(config: Config, host: Key, argv: list[str], stdin: bool, directory: str) -> int:
    from reconciler.agent.execs import Exec
    from reconciler.app import reach

    async with reader(config) as store, reach(config, store, await one(store, host)) as machine:
        command = Exec(machine.at, _into(1), _into(2))
        with _signals(command):
            return await command.run(machine.private, argv, directory, _input if stdin else None)


def _into(descriptor: int) -> Callable[[bytes], None]:
    def write(data: bytes) -> None:
        while data:
            data = data[os.write(descriptor, data) :]

    return write


async def _input() -> bytes:
    """The next piece of our standard input."""
    from reconciler.agent.execs import PIECE

    loop, arrived = asyncio.get_running_loop(), asyncio.Event()
    try:
        loop.add_reader(sys.stdin.fileno(), arrived.set)
    except PermissionError:  # a regular file is always ready
        return os.read(sys.stdin.fileno(), PIECE)
    try:
        await arrived.wait()
    finally:
        loop.remove_reader(sys.stdin.fileno())
    return os.read(sys.stdin.fileno(), PIECE)


class _signals:
    """While inside, Ctrl-C and its like go to the command, as in a terminal of its own."""

    def __init__(self, command: Exec) -> None:
        self._command, self._sending = command, set[asyncio.Task[None]]()

    def __enter__(self) -> None:
        for number in PASSED_ON:
            asyncio.get_running_loop().add_signal_handler(number, self._pass_on, number)

    def __exit__(self, *_: object) -> None:
        for number in PASSED_ON:
            asyncio.get_running_loop().remove_signal_handler(number)

    def _pass_on(self, number: signal.Signals) -> None:
        async def send() -> None:
            with suppress(ReconcilerError):  # it ended meanwhile; how is told
                await self._command.signal(number)

        task = asyncio.ensure_future(send())
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)
