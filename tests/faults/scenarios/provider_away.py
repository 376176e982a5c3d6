"""Two lieutenants on one key. Its provider is at its limit, then refuses the key, then answers; a machine is lost with its files, and work
is held until a person has seen to them."""

from __future__ import annotations

from reconciler.core.keys import Key
from reconciler.core.snapshot.vm import VmState
from tests.conformance.kstatus import conditions_of
from tests.faults.harness import NoSecrets, Run
from tests.faults.play import Scenario, declared, delivered, leave, left_nothing, treated_well

ASKS, SHARES = (Key("Lieutenant", "default", name) for name in ("asks", "shares"))
OWN = Key("BootProfile", "default", "own")
FIRST, OTHER, SECOND, LAST = (Key("Task", "default", name) for name in ("first", "other", "second", "last"))
PROVIDER = {
    "name": "acme",
    "baseUrl": "https://models.example.com/v1",
    "api": "openai-completions",
    "apiKeyFrom": {"secretKeyRef": {"name": "keys", "key": "acme"}},
}
LIMIT, REFUSAL = '429: {"message":"Rate limit reached"}', '401: {"message":"Incorrect API key provided"}'
WORKS = [("write", {"path": "made.txt"})]


class Keys(NoSecrets):
    """The key that both use."""

    def get(self, namespace: str, name: str, key: str) -> str | None:
        return "key-of-acme" if (name, key) == ("keys", "acme") else None

    def holds(self, kind: str, namespace: str, name: str) -> bool:
        return kind == "Secret" and name == "keys"


async def verb(run: Run, name: str, token: str) -> None:
    await run.retrying(lambda: run.engine.declarations.annotate(ASKS, {f"fleet.vers.sh/{name}": token}))


def reason(run: Run, key: Key, kind: str) -> str:
    item = run.engine.table.get(key)
    return str(conditions_of(dict(item.obj.status)).get(kind, {}).get("reason", "")) if item is not None else ""


async def says(run: Run, key: Key, kind: str, why: str) -> None:
    await run.until(lambda: reason(run, key, kind) == why, f"{key.name} has {kind} with reason {why}")


def fails(run: Run, error: str) -> None:
    run.world.calls, run.world.answer = [], lambda prompt: ("", f"error: {error}")


def answers(run: Run) -> None:
    run.world.calls, run.world.answer = list(WORKS), lambda prompt: ("done", "stop")


async def succeed(run: Run, *tasks: Key) -> None:
    await run.until(lambda: all(run.phase(task) == "Succeeded" for task in tasks), f"{', '.join(task.name for task in tasks)} are done")


async def ask(run: Run, task: Key, lieutenant: Key) -> None:
    await run.declare(declared(task, lieutenantRef={"name": lieutenant.name}, prompt=f"piece {task.name}"))


async def story(run: Run) -> None:
    fails(run, LIMIT)
    agent = {"model": {"provider": "acme", "id": "m"}, "providers": [PROVIDER]}
    await run.declare(declared(OWN, source={"image": "default"}, agent=agent))
    for key in (ASKS, SHARES):
        await run.declare(declared(key, role="Keep it", profileRef={"name": "own"}, session={"onWorkspaceLost": "Hold"}))
    await run.until(lambda: all(run.condition(key, "Available") == "True" for key in (ASKS, SHARES)), "both are ready")

    await ask(run, FIRST, ASKS)
    for key in (ASKS, SHARES):
        await says(run, key, "Available", "ProviderLimited")
    await ask(run, OTHER, SHARES)
    await says(run, OTHER, "Ready", "ProviderLimited")
    answers(run)
    await succeed(run, FIRST, OTHER)
    await run.until(lambda: not run.engine.gatherer.providers.breakers, "the provider is open to both")

    fails(run, REFUSAL)
    await ask(run, SECOND, ASKS)
    await says(run, ASKS, "Stalled", "ModelRefused")
    answers(run)
    await verb(run, "retry", "now")
    await succeed(run, SECOND)
    await run.until(lambda: not run.engine.gatherer.providers.breakers, "it is open again")

    item = run.engine.table.lieutenant(ASKS)
    assert item is not None
    old = run.world.machines[item.record.slot.vm_id]
    run.world.kill_pi(old)
    old.state = VmState.DEAD
    await says(run, ASKS, "Stalled", "WorkspaceLost")
    await ask(run, LAST, ASKS)
    await verb(run, "resolve", "workspace=known:a")
    await succeed(run, LAST)
    await leave(run, ASKS, SHARES)


def judge(run: Run) -> None:
    treated_well(run)
    where = run.describe()
    left_nothing(run, made=3)
    for task in (FIRST, OTHER, SECOND, LAST):
        item = run.engine.table.task(task)
        assert item is not None
        assert (item.record.phase, item.record.attempts) == ("Succeeded", ()), f"{task.name} spent an attempt; {where}"
    asked = {task.name: delivered(run, task.name) for task in (FIRST, OTHER, SECOND, LAST)}
    assert asked == {"first": 2, "other": 1, "second": 2, "last": 1}, f"prompts {asked}; {where}"


SCENARIO = Scenario("provider-away", story, judge, points=900, secrets=Keys)
