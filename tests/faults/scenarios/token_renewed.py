"""A program of the controller's host gives the agent a token that is another one after a while, fails for a time, and gives one again; a
task runs meanwhile."""

from __future__ import annotations

from reconciler.core.keys import Key
from reconciler.core.snapshot.rendered import SecretRef
from reconciler.errors import Unreachable
from tests.conformance.kstatus import conditions_of
from tests.faults.harness import Run
from tests.faults.play import Scenario, declared, delivered, leave, left_nothing, treated_well

LT = Key("Lieutenant", "default", "api")
ONE, TWO = (Key("Task", "default", name) for name in ("one", "two"))
MINT = {"exec": {"command": ["mint"], "refreshSeconds": 30}}


class Mint:
    """The program: `token` is what it prints, '' while it fails."""

    def __init__(self) -> None:
        self.token = "token-number-1"

    async def draw(self, namespace: str, ref: SecretRef) -> str:
        assert (namespace, ref.command) == ("default", ("mint",))
        if not self.token:
            raise Unreachable("the program ended with 1", ref.words, "run it by hand")
        return self.token


def mint_of(run: Run) -> Mint:
    assert isinstance(run.controller.draws, Mint)
    return run.controller.draws


def given(run: Run) -> str | None:
    item = run.engine.table.lieutenant(LT)
    machine = run.world.machines.get(item.record.slot.vm_id) if item is not None else None
    return machine.pi.launch.env.get("TOKEN") if machine is not None and machine.pi is not None else None


def unread(run: Run) -> bool:
    item = run.engine.table.get(LT)
    return item is not None and "SecretsUnread" in conditions_of(dict(item.obj.status))


async def story(run: Run) -> None:
    env = [{"name": "TOKEN", "valueFrom": MINT}]
    await run.declare(declared(LT, role="Keep it", profileRef={"name": "lightweight"}, env=env))
    await run.until(lambda: run.condition(LT, "Available") == "True" and given(run) == "token-number-1", "it is ready")
    await run.declare(declared(ONE, lieutenantRef={"name": "api"}, prompt="first piece"))
    await run.until(lambda: run.phase(ONE) in ("Running", "Succeeded"), "the task runs")
    mint_of(run).token = "token-number-2"
    await run.until(lambda: given(run) == "token-number-2", "it has the next token")
    mint_of(run).token = ""
    await run.until(lambda: unread(run) or run.controller.lives > 1, "that it fails is told")
    mint_of(run).token = "token-number-3"
    await run.declare(declared(TWO, lieutenantRef={"name": "api"}, prompt="second piece"))
    await run.until(lambda: given(run) == "token-number-3" and not unread(run), "it has the one after that")
    await run.until(lambda: run.phase(ONE) == run.phase(TWO) == "Succeeded", "both are done")
    await leave(run, LT)


def judge(run: Run) -> None:
    treated_well(run)
    left_nothing(run, made=1)
    where = run.describe()
    for task in ("one", "two"):
        assert delivered(run, task) == 1, f"{task} was delivered {delivered(run, task)} times; {where}"


SCENARIO = Scenario("token-renewed", story, judge, points=300, draws=Mint)
