"""The one numbered seam through which every external effect passes: platform, machines, store.

In production it counts and measures; the crash harness puts a fault before or after each number. The ports are wrapped once, where
the engine is put together: whoever has one of them can't make a call that is not counted."""

from __future__ import annotations

from asyncio import get_running_loop
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import nullcontext
from functools import partial
from typing import Any, ParamSpec, Protocol, TypeVar

from reconciler.engine.ports import AgentReader, Agents, AgentWriter, Draws, Store, VersApi
from reconciler.engine.telemetry import Telemetry
from reconciler.engine.tracing import Tracing

P = ParamSpec("P")
T = TypeVar("T")


class Hook(Protocol):
    """Runs one effect, or makes it fail. `number` counts from 1 over the life of the seam."""

    async def __call__(self, number: int, name: str, act: Callable[[], Awaitable[T]]) -> T: ...


class Effects:
    """Counts and times every effect. `hook`: around each of them; `tracing`: told of each of them; None for nothing."""

    def __init__(self, hook: Hook | None = None, tracing: Tracing | None = None) -> None:
        self.hook, self.tracing = hook, tracing
        self.number = 0
        self.telemetry = Telemetry()

    @property
    def calls(self) -> Counter[str]:
        """How many effects of each name there were that have ended, well or not."""
        found: Counter[str] = Counter()
        for (name, _), histogram in self.telemetry.effects.items():
            found[name] += histogram.count
        return found

    def of(self, name: str, act: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        """`act`, every call of which is one external effect under a name such as `vers.create_vm` or `store.write`."""

        record = self.telemetry.effect

        async def run(*args: P.args, **kwargs: P.kwargs) -> T:
            self.number += 1
            clock = get_running_loop().time
            begun, outcome = clock(), "ok"
            try:
                if self.hook is None and self.tracing is None:
                    return await act(*args, **kwargs)
                return await self._watched(name, act, *args, **kwargs)
            except BaseException as error:
                outcome = type(error).__name__
                raise
            finally:
                record(name, outcome, clock() - begun)

        return run

    async def _watched(self, name: str, act: Callable[P, Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """With the hook around it, and the span of a trace around that."""
        hook, tracing, number = self.hook, self.tracing, self.number
        with tracing.effect(name) if tracing is not None else nullcontext():
            return await (act(*args, **kwargs) if hook is None else hook(number, name, partial(act, *args, **kwargs)))


class NumberedVers:
    """A `VersApi` whose every call to the platform is an effect."""

    def __init__(self, vers: VersApi, effects: Effects) -> None:
        self.account, self.answered = vers.account, vers.answered
        self.list_vms = effects.of("vers.list_vms", vers.list_vms)
        self.get_vm = effects.of("vers.get_vm", vers.get_vm)
        self.get_metadata = effects.of("vers.get_metadata", vers.get_metadata)
        self.resolve_ref = effects.of("vers.resolve_ref", vers.resolve_ref)
        self.create_vm = effects.of("vers.create_vm", vers.create_vm)
        self.commit = effects.of("vers.commit", vers.commit)
        self.delete_commit = effects.of("vers.delete_commit", vers.delete_commit)
        self.list_commits = effects.of("vers.list_commits", vers.list_commits)
        self.delete_vm = effects.of("vers.delete_vm", vers.delete_vm)
        self.suspend_vm = effects.of("vers.suspend_vm", vers.suspend_vm)
        self.resume_vm = effects.of("vers.resume_vm", vers.resume_vm)
        self.set_labels = effects.of("vers.set_labels", vers.set_labels)


class NumberedDraws:
    """A `Draws` whose every question is an effect."""

    def __init__(self, draws: Draws, effects: Effects) -> None:
        self.draw = effects.of("credential.draw", draws.draw)


class NumberedReader:
    """An `AgentReader` whose every question is an effect. It has no way to change anything on a machine."""

    def __init__(self, agents: AgentReader, effects: Effects) -> None:
        self.watch, self.release = agents.watch, agents.release
        self.inspect = effects.of("guest.inspect", agents.inspect)
        self.observe = effects.of("keeper.observe", agents.observe)
        self.prefixes = effects.of("keeper.prefixes", agents.prefixes)
        self.file_size = effects.of("keeper.file_size", agents.file_size)
        self.digest = effects.of("keeper.digest", agents.digest)
        self.read_file = effects.of("keeper.read_file", agents.read_file)
        self.digests = effects.of("keeper.digests", agents.digests)
        self.verdict = effects.of("keeper.verdict", agents.verdict)
        self.memory = effects.of("keeper.memory", agents.memory)


class NumberedWriter:
    """An `AgentWriter` whose every change is an effect."""

    def __init__(self, agents: AgentWriter, effects: Effects) -> None:
        self.correct_clock = effects.of("guest.correct_clock", agents.correct_clock)
        self.write_claim = effects.of("guest.write_claim", agents.write_claim)
        self.remove_claim = effects.of("guest.remove_claim", agents.remove_claim)
        self.install = effects.of("guest.install", agents.install)
        self.install_boundary = effects.of("guest.install_boundary", agents.install_boundary)
        self.start_keeper = effects.of("guest.start_keeper", agents.start_keeper)
        self.write_files = effects.of("keeper.write_files", agents.write_files)
        self.mark = effects.of("keeper.mark", agents.mark)
        self.run = effects.of("keeper.run", agents.run)
        self.pack = effects.of("keeper.pack", agents.pack)
        self.unpack = effects.of("keeper.unpack", agents.unpack)
        self.dissolve = effects.of("local.dissolve", agents.dissolve)
        self.start_agent = effects.of("keeper.start_agent", agents.start_agent)
        self.stop_agent = effects.of("keeper.stop_agent", agents.stop_agent)
        self.reread = effects.of("keeper.reread", agents.reread)
        self.send = effects.of("keeper.send", agents.send)
        self.call = effects.of("keeper.call", agents.call)
        self.answer = effects.of("keeper.answer", agents.answer)
        self.put_memory = effects.of("keeper.put_memory", agents.put_memory)


class NumberedAgents(NumberedReader, NumberedWriter):
    """`Agents` whose every call is an effect."""

    def __init__(self, agents: Agents, effects: Effects) -> None:
        NumberedReader.__init__(self, agents, effects)
        NumberedWriter.__init__(self, agents, effects)


class NumberedStore:
    """A `Store` whose writes are effects, and the reads that decisions rest on after a start or a failed write. What people and
    conversations are shown of it is read without a number."""

    def __init__(self, store: Store, effects: Effects) -> None:
        self.events, self.session, self.aclose = store.events, store.session, store.aclose
        self.meta, self.metas = store.meta, store.metas
        self.audit, self.memory = store.audit, store.memory
        self.write = effects.of("store.write", store.write)
        self.load = effects.of("store.load", store.load)
        self.objects = effects.of("store.objects", store.objects)
