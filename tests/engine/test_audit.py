"""Every change leaves its entry, in the same transaction."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.audit import Actor, Change, Entry, changes, verb_of
from reconciler.core.keys import Json, Key
from reconciler.core.snapshot.agent import Refusal, Refusals
from reconciler.engine.ports import AddAudit
from reconciler.errors import Unreachable
from reconciler.store.sqlstore import open_store
from tests.engine.stage import LT, Stage, declared, failing, pass_time, tell
from tests.engine.test_profiles import Vault, made
from tests.world import Machine, Pi, World


async def entries(s: Stage) -> list[Entry]:
    return [entry for _, entry in await s.engine.store.audit()]


def pi_of(machine: Machine) -> Pi:
    assert machine.pi is not None
    return machine.pi


def test_who_declared_changed_cancelled_and_deleted_what(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        ann = s.engine.declarations.acting(Actor("command", "ann"))
        spec: Json = {"role": "x", "profileRef": {"name": "lightweight"}, "env": [{"name": "A", "value": "hush"}]}
        await ann.apply(declared(LT, **spec))
        await s.ready()
        await ann.apply(declared(LT, **{**spec, "role": "y", "env": [{"name": "A", "value": "other"}]}))
        task = await s.task("one")
        await s.ends(task)
        bob = s.engine.declarations.acting(Actor("command", "bob"))
        await bob.patch_spec(task, lambda obj: {**obj.spec, "cancel": True}, "api")
        await bob.annotate(LT, {"fleet.vers.sh/retry": "t1"})
        await bob.halt(True)
        await bob.halt(False)
        profile = declared(Key("BootProfile", "default", "p"), source={"image": "default"})
        await s.declare(replace(profile, source="file", origin="/a/b.yaml:3"))
        await bob.delete(LT)
        found = await entries(s)
        told = [(e.actor.who, e.verb, e.key.kind) for e in found if e.actor.door == "command"]
        assert told == [
            ("ann", "created", "Lieutenant"), ("ann", "changed", "Lieutenant"), ("bob", "cancelled", "Task"),
            ("bob", "retry", "Lieutenant"),
            ("bob", "halted", "Controller"), ("bob", "resumed", "Controller"), ("bob", "deleted", "Lieutenant"),
        ]  # fmt: skip
        assert [e.actor for e in found if e.key.kind == "BootProfile"] == [Actor("file", "/a/b.yaml")]
        changed = next(e for e in found if e.verb == "changed")
        assert changed.changes == (Change("env[A].value", "(not shown)", "(not shown)"), Change("role", "x", "y"))
        assert "hush" not in str(found)

    tell(tmp_path, story)


def test_a_change_that_is_not_written_has_no_entry(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        await s.lieutenant()
        await s.ready()
        before = await entries(s)
        s.weather.rules["store.write"] = failing(lambda: Unreachable("away"), times=1)
        with pytest.raises(Unreachable):
            await s.engine.declarations.delete(LT)
        assert await entries(s) == before
        s.weather.rules.clear()
        await s.engine.declarations.delete(LT)
        assert [e.verb for e in (await entries(s))[len(before) :]] == ["deleted"]

    tell(tmp_path, story)


def test_only_so_many_stay_and_numbers_are_not_given_twice(tmp_path: Path) -> None:
    async def story() -> None:
        store = open_store(tmp_path / "s.db")
        for number in range(12):
            await store.write([AddAudit(Entry(Actor("command", "ann"), "changed", LT, "", (), float(number)), keep=5)])
        found = await store.audit()
        assert [entry.at for _, entry in found] == [7.0, 8.0, 9.0, 10.0, 11.0]
        assert [seq for seq, _ in found] == [8, 9, 10, 11, 12]
        assert await store.audit(namespace="elsewhere") == []
        await store.aclose()

    asyncio.run(story())


@pytest.mark.guarantee("G-28")
def test_what_an_agent_was_refused_is_there_with_rule_and_level_in_the_same_transaction(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        pi = pi_of(await made(s, {}, permissions={"deny": ["bash(rm *)"], "default": "Allow"}))
        found = Refusals((
            Refusal(1, "call", "bash: rm x (rule bash(rm *) of the Lieutenant) (4 times)", "bash(rm *)", "Lieutenant"),
            Refusal(2, "network", "evil.example:443"),
        ))  # fmt: skip
        s.weather.rules["store.write"] = failing(lambda: Unreachable("away"), times=1)
        pi.refused = found
        await s.until(lambda: s.happened("Refused") == 1, "it is told")
        s.weather.rules.clear()
        await pass_time(120)
        told = [entry for entry in await entries(s) if entry.verb == "refused"]
        assert [(entry.actor, entry.key) for entry in told] == [(Actor("agent", "api"), LT)] * 2, "each once"
        assert told[0].changes == (
            Change("call", None, "bash: rm x (rule bash(rm *) of the Lieutenant) (4 times)"),
            Change("rule", None, "bash(rm *)"),
            Change("level", None, "Lieutenant"),
        )
        assert told[1].changes == (Change("network", None, "evil.example:443"),)
        item = s.engine.table.lieutenant(LT)
        assert item is not None
        assert {entry.uid for entry in told} == {item.uid}
        [event] = [one for one in s.controller.told if one.reason == "Refused"]
        assert {entry.at for entry in told} == {event.at}

    tell(tmp_path, story)


@pytest.mark.guarantee("G-28")
def test_what_is_refused_at_the_end_of_a_turn_is_there_though_pi_is_restarted_then(tmp_path: Path) -> None:
    """Of a pi that was stopped nobody can ask what it was refused, and what is told seldom must not wait until then."""

    async def story(s: Stage) -> None:
        first, last = (Refusal(n, "call", f"bash: rm {n}", "bash(rm *)", "Lieutenant") for n in (1, 2))
        rules = {"deny": ["bash(rm *)"], "default": "Allow"}
        machine = await made(s, {}, permissions=rules)
        work = await s.task("work")
        await s.runs(work)
        pi_of(machine).refused = Refusals((first,))
        await s.until(lambda: s.happened("Refused") == 1, "the first is told")
        pi_of(machine).refused = Refusals((first, last))
        await s.lieutenant(permissions=rules, env=[{"name": "OTHER", "value": "x"}])
        assert await s.ends(work) == "Succeeded"
        await s.until(lambda: s.happened("StoppedAgent") > 0, "pi is restarted")
        assert [entry.changes[0].after for entry in await entries(s) if entry.verb == "refused"] == ["bash: rm 1", "bash: rm 2"]

    tell(tmp_path, story, World(work_seconds=5.0))


@pytest.mark.guarantee("G-60")
def test_a_secret_in_what_was_refused_is_not_in_the_audit(tmp_path: Path) -> None:
    async def story(s: Stage) -> None:
        pi = pi_of(await made(s, {}, env=[{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}}]))
        pi.refused = Refusals((Refusal(1, "call", "bash: curl -H 'a: hidden-value' x", "bash(curl *hidden-value*)", "Task"),))
        await s.until(lambda: s.happened("Refused") == 1, "it is told")
        told = [entry for entry in await entries(s) if entry.verb == "refused"]
        assert "[redacted]" in str(told)
        assert "hidden-value" not in str(told)

    tell(tmp_path, story, secrets=Vault(s_k="hidden-value"))


def test_an_agent_that_tries_and_tries_pushes_nothing_of_people_out(tmp_path: Path) -> None:
    async def story() -> None:
        store = open_store(tmp_path / "s.db")
        ann, agent = Actor("command", "ann"), Actor("agent", "api")
        for number in range(12):
            await store.write([AddAudit(Entry(ann if number < 3 else agent, "x", LT, "", (), float(number)), keep=5)])
        assert [entry.at for _, entry in await store.audit()] == [0.0, 1.0, 2.0, 7.0, 8.0, 9.0, 10.0, 11.0]
        for number in range(12, 18):
            await store.write([AddAudit(Entry(ann, "x", LT, "", (), float(number)), keep=5)])
        assert [entry.at for _, entry in await store.audit()] == [7.0, 8.0, 9.0, 10.0, 11.0, 13.0, 14.0, 15.0, 16.0, 17.0]
        await store.aclose()

    asyncio.run(story())


@pytest.mark.parametrize(
    ("before", "after", "verb"),
    [
        ({"prompt": "x"}, {"prompt": "x", "cancel": True}, "cancelled"),
        ({"prompt": "x"}, {"prompt": "x", "approvals": [{"id": "a", "decision": "Approve"}]}, "approved"),
        ({"prompt": "x"}, {"prompt": "x", "approvals": [{"id": "a", "decision": "Deny"}]}, "denied"),
        ({"prompt": "x"}, {"prompt": "x", "budget": {"maxTokens": 1}}, "changed"),
    ],
)
def test_what_a_change_of_a_task_is_called(before: Json, after: Json, verb: str) -> None:
    assert verb_of(before, after, "changed") == verb


def test_an_entry_is_bounded() -> None:
    many: Json = {f"f{n:03}": "x" * 5000 for n in range(100)}
    found = changes({}, many)
    assert len(found) == 51
    assert found[-1].path == "and 50 more"
    assert all(len(one.after or "") <= 201 for one in found)
