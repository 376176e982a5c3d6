"""The ports: who can reach what, and that every call through them is counted."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest

from reconciler.engine import observe
from reconciler.engine.effects import Effects, NumberedAgents, NumberedReader, NumberedStore, NumberedVers
from reconciler.engine.loop import Engine
from reconciler.engine.planning import RecalledAgents, recalling
from reconciler.engine.ports import AgentReader, Agents, AgentWriter, Store, VersApi
from tests.faults.harness import READS, Run, virtual
from tests.faults.play import SETTINGS
from tests.world import FakeAgents, FakeVers, World

UNCOUNTED = {"account", "answered", "watch", "release", "audit", "events", "session", "meta", "metas", "aclose"}
"""Calls that ask nobody outside, or that only show what is stored."""


def methods(port: type) -> set[str]:
    return {name for name, _ in inspect.getmembers(port, inspect.isfunction) if not name.startswith("_")}


def test_reading_and_writing_are_apart() -> None:
    assert not methods(AgentReader) & methods(AgentWriter)
    assert methods(Agents) == methods(AgentReader) | methods(AgentWriter)
    assert not methods(RecalledAgents) & methods(AgentWriter), "a plan has nothing to change a machine with"


def test_what_observes_knows_no_writer_of_machines() -> None:
    sources = sorted(Path(str(observe.__file__)).parent.glob("*.py"))
    assert len(sources) > 5
    for source in sources:
        tree = ast.parse(source.read_text())
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.ImportFrom | ast.Import) for alias in node.names}
        assert not imported & {"Agents", "AgentWriter", "NumberedAgents", "NumberedWriter", "ports", "agents"}, source.name
        called = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and ast.unparse(node.value).endswith("agents")}
        assert called <= methods(AgentReader), source.name


def test_what_is_handed_to_observers_can_change_no_machine(tmp_path: Path) -> None:
    async def main() -> None:
        run = Run(World(), tmp_path / "state.db", None, SETTINGS)
        await run.alive()
        engine: Engine = run.engine
        for machines in (engine.gatherer.machines, recalling(engine).machines):
            assert [name for name in methods(AgentWriter) if hasattr(machines.agents, name)] == []
        assert recalling(engine).slots is engine.gatherer.slots, "a plan reads the same platform"
        await run.controller.down()

    virtual(main)


class Noted(Exception):
    """The call was seen at the seam; it goes no further."""


@pytest.mark.parametrize("port", ["vers", "agents", "reader", "store"])
async def test_every_call_is_counted_under_a_name_of_its_own(port: str) -> None:
    seen: list[str] = []

    async def hook(number: int, name: str, act: object) -> object:
        seen.append(name)
        assert number == len(seen)
        raise Noted

    effects, world = Effects(hook), World()  # type: ignore[arg-type]
    wrapped: dict[str, tuple[object, type]] = {
        "vers": (NumberedVers(FakeVers(world), effects), VersApi),
        "agents": (NumberedAgents(FakeAgents(world), effects), Agents),
        "reader": (NumberedReader(FakeAgents(world), effects), AgentReader),
        "store": (NumberedStore(Unreached(), effects), Store),  # type: ignore[arg-type]
    }
    made, protocol = wrapped[port]
    counted = sorted(methods(protocol) - UNCOUNTED - ({"memory"} if port == "store" else set()))
    for name in counted:
        with pytest.raises(Noted):
            await getattr(made, name)()
    assert [name.partition(".")[2] for name in seen] == counted
    assert effects.calls.total() == len(counted) > 2
    if port == "reader":
        assert set(seen) - READS == {"keeper.digest"}, "the harness knows the reads, and treats this one as a change"


class Unreached:
    """A store that nobody gets to."""

    def __getattr__(self, name: str) -> object:
        async def call() -> None:
            raise AssertionError(name)

        return call
