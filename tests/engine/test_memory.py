"""What agents remember outlives their machines, is shared by those that share it, and is there before pi starts, in virtual time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.audit import Actor
from reconciler.core.governance.memory import Whose, as_text
from reconciler.core.keys import Key
from reconciler.core.snapshot.vm import VmState
from reconciler.errors import GuestFailed, Transient
from tests.engine.stage import LT, Stage, failing, pass_time, tell
from tests.world import World

WEB = Key("Lieutenant", "default", "web")
BOTH = {"scopes": ["Agent", "Global"]}
OWN = {"scopes": ["Agent"]}
PERSON = Actor("command", "ada")


async def known(s: Stage, owner: str = "api") -> list[str]:
    """The texts of a memory, as they are in the store."""
    return [entry.text for entry in await s.engine.store.memory("default", owner) if not entry.gone_at]


async def kept(s: Stage, *texts: str, owner: str = "api") -> None:
    """Until the store has exactly these."""
    for _ in range(600):
        if sorted(await known(s, owner)) == sorted(texts):
            return
        await pass_time(1)
    raise AssertionError(f"the store has {await known(s, owner)}")


def told(s: Stage, key: Key = LT) -> str:
    """What pi was told at its start."""
    pi = s.machine(key).pi
    assert pi is not None
    return pi.told_memory or ""


async def again(s: Stage, key: Key = LT) -> None:
    """Its machine dies; until it is there again, on another one."""
    before = s.machine(key)
    before.state = VmState.DEAD
    await s.until(lambda: s.record(key).slot.vm_id not in ("", before.vm_id), "it has another machine")
    await s.ready(key)


def test_what_a_person_gave_an_agent_without_a_memory_is_told_once_it_declares_one(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await s.lieutenant()
        await s.ready()
        await s.engine.memory_desk.edit(Whose("default", "api"), ["by hand"], [], PERSON)
        await pass_time(30)
        assert told(s) == ""
        await s.lieutenant(memory=OWN)
        await s.until(lambda: "by hand" in told(s), "it is told")

    tell(tmp_path, story)


@pytest.mark.guarantee("G-32")
def test_what_an_agent_wrote_is_in_the_store_and_told_on_its_next_machine(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await s.lieutenant(memory=OWN)
        await s.ready()
        assert told(s) == ""
        assert await s.ends(await s.task("one", "REMEMBER(the port is 8081) please")) == "Succeeded"
        await kept(s, "the port is 8081")
        own = s.status()["memory"]["agent"]
        assert (own["entries"], own["lines"], own["characters"]) == (1, 1, 16)
        pi = s.machine().pi
        await pass_time(300)
        assert s.machine().pi is pi, "memory that grows restarts nothing"
        await again(s)
        assert told(s) == "the port is 8081"
        assert s.machine().memory.owner == "default/api"

    tell(tmp_path, story)


def test_the_status_tells_by_a_hash_that_entries_changed_and_that_two_have_the_same(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        def hash_of(key: Key, scope: str) -> str:
            return str(s.status(key)["memory"][scope]["hash"])

        await s.lieutenant(memory=BOTH)
        await s.lieutenant("web", memory=BOTH)
        await s.ready()
        await s.ready(WEB)
        edit = s.engine.memory_desk.edit
        first = await edit(Whose("default"), ["to all"], [], PERSON)
        await s.until(lambda: hash_of(LT, "shared") == hash_of(WEB, "shared") == first["hash"], "both tell of the same entries")
        own = hash_of(LT, "agent")
        assert own == hash_of(WEB, "agent"), "neither has an entry of its own"
        second = await edit(Whose("default", "api"), ["by hand"], [], PERSON)
        await s.until(lambda: hash_of(LT, "agent") == second["hash"], "its own entries changed")
        assert hash_of(LT, "agent") != own == hash_of(WEB, "agent")
        assert hash_of(LT, "shared") == first["hash"], "nothing changed there"

    tell(tmp_path, story)


def test_what_is_told_are_the_newest_lines(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await s.lieutenant(memory={"scopes": ["Agent"], "maxLines": 2})
        await s.ready()
        for n in range(4):
            await s.ends(await s.task(f"t{n}", f"REMEMBER(fact {n})"))
        await kept(s, *(f"fact {n}" for n in range(4)))
        await again(s)
        assert told(s) == "fact 2\nfact 3"

    tell(tmp_path, story)


@pytest.mark.guarantee("G-27")
def test_pi_that_does_not_say_what_it_remembers_is_not_ready(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        s.world.tells_memory = False
        await s.lieutenant(memory=OWN)
        await s.says(LT, "Ready", "MemoryNotApplied")
        one = await s.task("one")
        await pass_time(60)
        assert s.prompts(one.name) == []
        assert s.reason(LT, "AgentConfigured") == "MemoryNotApplied"
        s.world.tells_memory, deaf = True, s.machine().pi
        await s.engine.declarations.annotate(LT, {"fleet.vers.sh/retry": "1"})
        assert await s.ends(one) == "Succeeded"
        assert deaf is not None

    tell(tmp_path, story)


def test_two_who_write_what_they_share_lose_nothing_and_both_have_it_all(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await s.lieutenant(memory=BOTH)
        await s.lieutenant("web", memory=BOTH)
        await s.lieutenant("alone", memory=OWN)
        for key in (LT, WEB, Key("Lieutenant", "default", "alone")):
            await s.ready(key)
        work = [(n, to) for n in range(3) for to in ("api", "web", "alone")]
        for task in [await s.task(f"{to}-{n}", f"SHARE({to} {n}) REMEMBER(of {to} {n})", to) for n, to in work]:
            assert await s.ends(task) == "Succeeded"
        every = [f"{to} {n}" for n in range(3) for to in ("api", "web")]
        await kept(s, *every, owner="")
        await s.until(
            lambda: all(sorted(e.text for e in s.machine(key).memory.of("Global")) == sorted(every) for key in (LT, WEB)), "both have all"
        )
        assert s.machine(Key("Lieutenant", "default", "alone")).memory.of("Global") == ()
        assert sorted(await known(s, "web")) == [f"of web {n}" for n in range(3)]
        assert [e.text for e in s.machine(WEB).memory.of("Agent")] == [f"of web {n}" for n in range(3)]

    tell(tmp_path, story)


def test_what_is_not_saved_yet_is_saved_before_the_machine_is_suspended(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await s.lieutenant(memory=OWN)
        await s.ready()
        s.weather.rules["keeper.memory"] = failing(lambda: Transient("the line is slow"), 2)
        one = await s.task("one", "REMEMBER(late but kept)")
        await s.runs(one)
        await s.lieutenant(memory=OWN, mode="Suspended")
        await s.says(LT, "Suspended", "VMSuspended")
        assert await known(s) == ["late but kept"]

    tell(tmp_path, story)


def test_a_machine_that_can_not_be_written_to_keeps_nothing_from_being_saved(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await s.lieutenant(memory=BOTH)
        await s.ready()
        s.weather.rules["keeper.put_memory"] = failing(lambda: GuestFailed("no space left"))
        await s.task("one", "REMEMBER(it is saved)")
        await kept(s, "it is saved")

    tell(tmp_path, story)


def test_what_an_agent_writes_while_its_memory_is_brought_to_it_stays(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await s.lieutenant(memory=OWN)
        m = await s.ready()
        late = ["just now"]

        async def between(act: Callable[[], Awaitable[Any]]) -> Any:
            for text in late:
                m.memory.add("Agent", text, s.world.now(), "late")
            late.clear()
            return await act()

        s.weather.rules["keeper.put_memory"] = between
        await s.engine.memory_desk.edit(Whose("default", "api"), ["by hand"], [], PERSON)
        await kept(s, "by hand", "just now")
        await s.until(lambda: sorted(e.text for e in m.memory.of("Agent")) == ["by hand", "just now"], "both are on the machine")

    tell(tmp_path, story)


@pytest.mark.guarantee("G-33")
def test_a_copy_inherits_what_its_source_remembers_and_each_goes_on_apart(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await s.lieutenant(memory=OWN)
        await s.ready()
        await s.ends(await s.task("one", "REMEMBER(from the source)"))
        await kept(s, "from the source")
        copy = await s.lieutenant("copy", memory=OWN, fork={"from": {"name": "api"}})
        await s.ready(copy)
        await kept(s, "from the source", owner="copy")
        await s.ends(await s.task("two", "REMEMBER(only the copy)", "copy"))
        await s.ends(await s.task("three", "REMEMBER(only the source)"))
        await kept(s, "from the source", "only the copy", owner="copy")
        await kept(s, "from the source", "only the source")
        assert s.machine(copy).memory.owner == "default/copy"
        await again(s, copy)
        assert told(s, copy).splitlines() == ["from the source", "only the copy"]

    tell(tmp_path, story)


def test_a_machine_that_another_agent_had_brings_nothing_of_that_one(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await s.lieutenant(memory=BOTH)
        m = await s.ready()
        m.memory.owner = "elsewhere/other"
        m.memory.add("Agent", "a secret of the other", 5.0, "x")
        m.memory.add("Global", "of another namespace", 5.0, "y")
        await s.until(lambda: m.memory.owner == "default/api", "it is this agent's now")
        assert m.memory.of("Agent") == m.memory.of("Global") == ()
        assert await known(s) == []
        assert await known(s, "") == []

    tell(tmp_path, story)


@pytest.mark.parametrize(("policy", "left"), [("Delete", []), ("Orphan", ["worth keeping"])])
def test_with_the_lieutenant_its_memory_goes_unless_its_machine_stays(policy: str, left: list[str], tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await s.lieutenant(memory=BOTH, deletionPolicy=policy)
        await s.ready()
        await s.ends(await s.task("one", "REMEMBER(worth keeping) SHARE(for all)"))
        await kept(s, "worth keeping")
        await kept(s, "for all", owner="")
        await s.delete(LT)
        await s.gone(LT)
        assert await known(s) == left
        assert await known(s, "") == ["for all"], "what is shared is nobody's alone"
        await s.lieutenant(memory=OWN)
        await s.ready()
        assert told(s) == "\n".join(left)

    tell(tmp_path, story)


def test_what_a_person_changes_reaches_the_machines_and_is_not_brought_back(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await s.lieutenant(memory=BOTH)
        m = await s.ready()
        await s.ends(await s.task("one", "REMEMBER(wrong) REMEMBER(right)"))
        await kept(s, "wrong", "right")
        wrong = next(entry.id for entry in m.memory.of("Agent") if entry.text == "wrong")
        edit = s.engine.memory_desk.edit
        assert (await edit(Whose("default", "api"), ["by hand"], [wrong], PERSON))["removed"] == 1
        await edit(Whose("default"), ["to all"], [], PERSON)
        await s.until(lambda: [e.text for e in m.memory.of("Agent")] == ["right", "by hand"], "it is on the machine")
        await s.until(lambda: [e.text for e in m.memory.of("Global")] == ["to all"], "what is shared too")
        m.memory.put(m.memory.read())
        m.memory.add("Agent", "wrong", 1.0, "again")  # another entry, with a name of its own
        await kept(s, "right", "by hand", "wrong")
        entries = await s.engine.store.audit()
        assert [(one.actor.who, one.verb, one.changes[0].after) for _, one in entries if one.verb == "remembered"] == [
            ("ada", "remembered", "1 added, 1 removed"),
            ("ada", "remembered", "1 added, 0 removed"),
        ]
        await s.controller.down()
        await s.alive()
        assert sorted(await known(s)) == ["by hand", "right", "wrong"]

    tell(tmp_path, story)


def test_without_scopes_there_is_no_memory(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await s.lieutenant()
        m = await s.ready()
        await s.ends(await s.task("one", "REMEMBER(nothing)"))
        assert m.pi is not None
        assert (m.pi.launch.memory, m.pi.told_memory) == (None, None)
        assert "memory" not in s.status()
        assert s.weather.count("keeper.memory", "keeper.put_memory") == 0

    tell(tmp_path, story)


def test_known_secrets_are_not_remembered(tmp_path: Path) -> None:
    from tests.engine.test_profiles import Vault

    async def story(s: Stage) -> None:
        await s.lieutenant(memory=OWN, env=[{"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "anthropic", "key": "api-key"}}}])
        await s.ready()
        await s.ends(await s.task("one", "REMEMBER(the key is sk-very-secret-value)"))
        await s.until(lambda: s.status()["memory"]["agent"]["entries"] == 1, "it is saved")
        assert "sk-very-secret-value" not in as_text(await s.engine.store.memory("default", "api"))

    tell(tmp_path, story, World(), secrets=Vault(**{"anthropic_api-key": "sk-very-secret-value"}))
