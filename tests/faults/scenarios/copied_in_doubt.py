"""A live copy is made in an account where others make machines too: a machine whose call was not answered is named by a person, and until
then nobody takes it by its looks."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from reconciler.core.keys import Key
from tests.faults.harness import Run
from tests.faults.play import SETTINGS, Scenario, declared, delivered, leave, left_nothing, treated_well
from tests.faults.scenarios.live_copies import housed
from tests.faults.scenarios.provider_away import reason
from tests.world import FOREIGN, Machine, World

LT, COPY = (Key("Lieutenant", "default", name) for name in ("api", "copy"))
FIRST, WORK = (Key("Task", "default", name) for name in ("first", "for-copy"))
SHARED = replace(SETTINGS, dedicated_account=False)
ASKED = 5
"""So often a person is asked at most."""


class Told(World):
    """It remembers which machines a person named."""

    def __init__(self) -> None:
        super().__init__()
        self.named: set[str] = set()

    def copy(self) -> Machine | None:
        """The live copy that nobody has claimed."""
        return next((machine for machine in self.alive() if machine.branched_from and not machine.labels), None)


async def answer(run: Run, world: Told, number: int) -> None:
    """A person says which machine that create made, or that it made none."""
    made = world.copy()
    named = made.vm_id if made is not None else "none"
    world.named.add(named)

    async def once() -> None:
        await run.engine.declarations.annotate(COPY, {"fleet.vers.sh/resolve": f"vm={named}:{number}"})

    await run.retrying(once)
    await run.until(lambda: reason(run, COPY, "Stalled") != "CreateAmbiguous", "the answer is taken")


async def story(run: Run) -> None:
    world = run.world
    assert isinstance(world, Told)
    world.make({}, owner=FOREIGN)
    await run.declare(
        declared(LT, role="Keep the API", profileRef={"name": "lightweight"}),
        declared(FIRST, lieutenantRef={"name": "api"}, prompt="piece first"),
    )
    await run.until(lambda: run.phase(FIRST) == "Succeeded", "the first task is done")
    await run.declare(
        declared(COPY, role="Try another way", profileRef={"name": "lightweight"}, fork={"from": {"name": "api"}}),
        declared(WORK, lieutenantRef={"name": "copy"}, prompt="piece for-copy"),
    )
    for number in range(ASKED):
        await run.until(
            lambda: run.phase(WORK) == "Succeeded" or reason(run, COPY, "Stalled") == "CreateAmbiguous", "it is done, or a person is asked"
        )
        if run.phase(WORK) == "Succeeded":
            break
        unnamed = world.copy()
        await asyncio.sleep(2 * SHARED.settle_seconds)
        if unnamed is not None and unnamed.labels:
            world.violations.append(f"VM {unnamed.vm_id} was taken before anybody named it")
        await answer(run, world, number)
    await run.until(lambda: run.phase(WORK) == "Succeeded", "what is for the copy is done")
    source, copy = housed(run, LT), housed(run, COPY)
    if source is None or copy is None or copy.branched_from != source.vm_id:
        world.violations.append("the work was not done on a live copy")
    elif copy.session.count(b"piece first") != 1 or b"piece for-copy" in source.session:
        world.violations.append("the conversations are not apart")
    await leave(run, COPY, LT)


def answer_unknown(run: Run) -> bool:
    """Whether the controller did not hear what its create made, or died before that was written down."""
    fault = run.life.fault
    if fault is None:
        return False
    if fault.name == "vers.create_vm":
        return fault.kind not in ("crash-before", "error")
    before = run.life.names[: fault.number - 1]
    created = max((at for at, name in enumerate(before) if name == "vers.create_vm"), default=0)
    return fault.kind == "crash-before" and fault.name == "store.write" and "store.write" not in before[created:]


def judge(run: Run) -> None:
    treated_well(run)
    left_nothing(run, made=2)
    world, where = run.world, run.describe()
    assert isinstance(world, Told)
    branched = sum(1 for machine in world.machines.values() if machine.branched_from)
    assert branched == 1, f"{branched} live copies; {where}"
    copies = {machine.vm_id for machine in world.machines.values() if machine.branched_from}
    assert not world.named or answer_unknown(run), f"a person was asked for nothing: {world.named}; {where}"
    assert world.named <= copies, f"a person had to name {world.named} of {copies}; {where}"
    for key in (FIRST, WORK):
        assert delivered(run, key.name) == 1, f"{key.name} was delivered {delivered(run, key.name)} times; {where}"


SCENARIO = Scenario("copied-in-doubt", story, judge, points=400, settings=SHARED, world=Told)
