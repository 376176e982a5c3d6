"""A platform and a model for tests that drive the program from outside: they live in a thread with a loop of its own."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from reconciler.agent.scripted_model import ScriptedModel
from reconciler.core.keys import Json
from reconciler.vers.simulator.service import Endpoints, Simulator, SimulatorConfig

T = TypeVar("T")


def eventually(met: Callable[[], T | None], what: str, seconds: float = 60.0, pause: float = 0.05) -> T:
    """Look again and again, every `pause` seconds, until the result is true; returns it."""
    deadline = time.monotonic() + seconds
    while True:
        found = met()
        if found:
            return found
        assert time.monotonic() < deadline, f"never came true: {what}"
        time.sleep(pause)


@dataclass
class Platform:
    """A running simulator and model. `run` executes a coroutine on their loop."""

    simulator: Simulator
    endpoints: Endpoints
    model: ScriptedModel
    loop: asyncio.AbstractEventLoop

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(60)

    @property
    def calls(self) -> dict[str, int]:
        """How often each operation was called."""
        return dict(self.simulator.world.ledger.counts)

    def present(self) -> list[str]:
        """The VMs of our account that exist, by the platform's own books."""
        ours = self.endpoints.api_key[:36]
        return [vm.id for vm in list(self.simulator.world.present.values()) if vm.owner == ours]

    def ever(self) -> list[str]:
        """Every VM of our account that was ever made."""
        ours = self.endpoints.api_key[:36]
        return [vm.id for vm in list(self.simulator.world.vms.values()) if vm.owner == ours]


@contextmanager
def looped() -> Iterator[tuple[asyncio.AbstractEventLoop, Callable[[Coroutine[Any, Any, Any]], Any]]]:
    """A loop in a thread, and what runs a coroutine on it."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield loop, lambda coroutine: asyncio.run_coroutine_threadsafe(coroutine, loop).result(60)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


@contextmanager
def platform(config: SimulatorConfig, rules: Sequence[tuple[str, Sequence[Json]]] = ()) -> Iterator[Platform]:
    """`rules`: of the scripted model."""
    with looped() as (loop, on_loop):
        simulator, model = Simulator(), ScriptedModel(rules)
        try:
            endpoints = on_loop(simulator.start(config))
            on_loop(model.start())
            yield Platform(simulator, endpoints, model, loop)
        finally:
            on_loop(model.stop())
            on_loop(simulator.stop())


@contextmanager
def scripted_model(rules: Sequence[tuple[str, Sequence[Json]]] = ()) -> Iterator[ScriptedModel]:
    """A model alone, for a platform that is a program of its own."""
    with looped() as (_, on_loop):
        model = ScriptedModel(rules)
        try:
            on_loop(model.start())
            yield model
        finally:
            on_loop(model.stop())
