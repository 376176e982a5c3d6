"""A node of a tree loses its agent, is suspended in the middle of that, and gets one again: what was made on its machine is at every moment
on one that is there, and no task is lost to the change. Then it is changed once more and the tree goes in the middle of it."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.core.keys import Key, lieutenant, machine_of_node
from reconciler.core.snapshot.vm import VmState
from tests.faults.harness import Run
from tests.faults.play import Scenario, declared, delivered, leave, never_more_than, treated_well
from tests.faults.treeworld import TREE, node, stands, tree
from tests.world import ACCOUNT, FOREIGN, Machine, World

MADE = "/root/workspace/made.txt"
WITH, WITHOUT = node("a", category="Agent"), node("a")
AGENT, BARE = lieutenant("default", "prod-a"), machine_of_node(TREE, "a")
MOST = 2


class Kept(Machine):
    """A machine that says when the last one goes that had what was made."""

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        world = self.__dict__.get("world")
        had = name == "deleted" and bool(value) and MADE in self.files
        if had and isinstance(world, KeptWorld) and world.kept and not any(MADE in other.files for other in world.alive()):
            world.violations.append(f"VM {self.vm_id} went, and what was made is on no other machine")


class KeptWorld(World):
    """`kept`: something was made, and is to be kept; `most`: how many machines there were at once."""

    def __init__(self) -> None:
        super().__init__()
        self.boot_seconds = 3.0
        self.kept, self.most = False, 0

    def make(self, labels: Mapping[str, str], parent: str | None = None, owner: str = ACCOUNT) -> Machine:
        made = super().make(labels, parent, owner)
        if owner == ACCOUNT:
            self.most = max(self.most, len(self.alive()))
            made.__class__ = Kept
            made.__dict__["world"] = self
        return made


def there(run: Run, key: Key) -> bool:
    return run.engine.table.get(key) is not None


async def over(run: Run, key: Key) -> None:
    """Until the tree stands, and this is gone with its machine."""
    await run.until(lambda: not there(run, key) and len(run.world.alive()) == 1, "the former object is gone")
    await stands(run, "a")
    (now,) = run.world.alive()
    if now.files.get(MADE) != b"by hand":
        run.world.violations.append(f"VM {now.vm_id} has not what was made")


async def story(run: Run) -> None:
    world = run.world
    assert isinstance(world, KeptWorld)
    world.make({}, owner=FOREIGN)
    await run.declare(tree(WITH))
    await stands(run, "a")
    (first,) = world.alive()
    first.files[MADE], world.kept = b"by hand", True
    await run.declare(tree(WITHOUT))
    await run.until(lambda: there(run, BARE), "the other object is declared")
    await run.declare(tree(WITHOUT, mode="Suspended"))
    await run.until(lambda: all(m.state is VmState.SUSPENDED for m in world.alive()), "all of it sleeps")
    await run.declare(tree(WITHOUT))
    await over(run, AGENT)
    await run.declare(tree(WITH))
    task = Key("Task", "default", "one")
    await run.declare(declared(task, lieutenantRef={"name": "prod-a"}, prompt="do it"))
    await over(run, BARE)
    await run.until(lambda: run.phase(task) == "Succeeded", "the new agent does its task")
    if delivered(run, "one") != 1:
        world.violations.append(f"the task was delivered {delivered(run, 'one')} times")
    await run.declare(tree(WITHOUT))
    await run.until(lambda: there(run, BARE), "it is begun once more")
    world.kept = False
    await leave(run, task, TREE)


def judge(run: Run) -> None:
    treated_well(run)
    assert isinstance(run.world, KeptWorld)
    never_more_than(run, MOST, run.world.most)


SCENARIO = Scenario("category-changed", story, judge, points=300, world=KeptWorld)
