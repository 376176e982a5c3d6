"""Machines are restored from what a tag points to, which moves meanwhile; beside a tag of another namespace's commit, of which nothing may
be made. Whose a commit is, only the list of commits tells."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from reconciler.core.keys import Key
from reconciler.core.slot.claims import Owner
from reconciler.core.slot.tenancy import commit_name
from reconciler.core.snapshot.origin import Sharing
from reconciler.core.snapshot.vm import Commit
from tests.faults.harness import Run
from tests.faults.play import SETTINGS, Scenario, declared, delivered, leave, left_nothing, treated_well
from tests.faults.scenarios.provider_away import reason
from tests.world import ACCOUNT, FOREIGN, GOLDEN

MOVED, THEIRS = (f"5f0c2c0e-6a0e-4d7b-9a53-0f2a2f0a{end}" for end in ("2c11", "0c11"))
API, WEB, THIEF = (Key("Lieutenant", "default", name) for name in ("api", "web", "thief"))
ONE, TWO = (Key("Task", "default", name) for name in ("one", "two"))
ALONE = replace(SETTINGS, sharing=Sharing(unowned=frozenset()))
ASKED_AGAIN = SETTINGS.settle_seconds + 1
"""Seconds after which a tag that was looked up is looked up again."""


def committed(run: Run, commit_id: str, namespace: str) -> None:
    """Taken by this fleet for an object of this namespace, of which the store knows nothing any more."""
    name = commit_name(Owner("default", SETTINGS.installation), namespace, ["golden", commit_id])
    run.world.commits[commit_id] = Commit(commit_id, name, run.world.now())


def misled(run: Run) -> bool:
    """The platform said of a tag that it points to what is another tag's: nobody can know better than it."""
    fault = run.life.fault
    return fault is not None and (fault.name, fault.kind) == ("vers.resolve_ref", "hostile-known")


def refused(run: Run) -> bool:
    """Nothing is made from another namespace's commit, and it is told why."""
    item = run.engine.table.lieutenant(THIEF)
    made = item is not None and bool(item.record.slot.vm_id)
    return reason(run, THIEF, "Stalled") == "CommitOfAnotherNamespace" or (made and misled(run))


async def begins_with(run: Run, tag: str, key: Key) -> None:
    profile = Key("BootProfile", "default", key.name)
    await run.declare(declared(profile, source={"ref": tag}), declared(key, role="Keep it", profileRef={"name": key.name}))


async def story(run: Run) -> None:
    world = run.world
    world.make({}, owner=FOREIGN)
    committed(run, GOLDEN, "default")
    committed(run, THEIRS, "other")
    world.refs["theirs:latest"] = THEIRS
    await begins_with(run, "theirs:latest", THIEF)
    await run.until(lambda: refused(run), "another one's commit is refused")
    await begins_with(run, "golden:latest", API)
    await run.declare(declared(ONE, lieutenantRef={"name": "api"}, prompt="first piece"))
    await run.until(lambda: run.phase(ONE) == "Succeeded", "the first piece is done")
    committed(run, MOVED, "default")
    world.refs["golden:latest"] = MOVED
    await asyncio.sleep(ASKED_AGAIN)
    await begins_with(run, "golden:latest", WEB)
    await run.declare(declared(TWO, lieutenantRef={"name": "web"}, prompt="second piece"))
    await run.until(lambda: run.phase(TWO) == "Succeeded", "the second piece is done")
    await run.until(lambda: refused(run), "another one's commit is refused still")
    await leave(run, THIEF, API, WEB)


def judge(run: Run) -> None:
    treated_well(run)
    where, ours = run.describe(), [machine for machine in run.world.machines.values() if machine.owner == ACCOUNT]
    origins = tuple(machine.parent_commit for machine in ours)
    assert set(origins) <= {GOLDEN, MOVED}, f"made from {origins}; {where}"
    assert origins == (GOLDEN, MOVED) or misled(run), f"made from {origins}; {where}"
    left_nothing(run, made=3 if misled(run) and len(origins) == 3 else 2)
    for task in ("one", "two"):
        assert delivered(run, task) == 1, f"{task} was delivered {delivered(run, task)} times; {where}"


SCENARIO = Scenario("tagged", story, judge, points=500, settings=ALONE)
"""Nobody may use an id of the account that carries no mark of ours."""
