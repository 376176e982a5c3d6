"""Work that is held to something: checks that fail once, an answer that is an error, a cancellation in the middle of a turn, a steer that
is taken back, a turn that writes nothing, and what waits for work that did not succeed."""

from __future__ import annotations

from reconciler.core.keys import Key
from reconciler.core.snapshot.machine import GuestCommand
from reconciler.engine.state.declared import Declared
from tests.faults.harness import Run
from tests.faults.play import Scenario, declared, delivered, leave, left_nothing, treated_well

LT = Key("Lieutenant", "default", "api")
NAMES = ("checked", "erring", "dropped", "behind", "steer", "empty", "last")
CHECKED, ERRING, DROPPED, BEHIND, STEER, EMPTY, LAST = (Key("Task", "default", name) for name in NAMES)
CHECKS = [{"file": {"path": "made.txt"}}, {"command": {"run": ["make", "check"]}}]
WRITES = [("write", {"path": "made.txt"})]
LONG, SHORT = 36_000.0, 4.0
FIRST_FILE = 40
"""Seconds within which a turn must have written a file."""
ENDS = {
    CHECKED: ("Succeeded", 2),
    ERRING: ("Succeeded", 2),
    DROPPED: ("Cancelled", 1),
    BEHIND: ("Cancelled", 0),
    STEER: ("Cancelled", 0),
    EMPTY: ("TimedOut", 1),
    LAST: ("Succeeded", 1),
}
"""How each ends, and how many prompts it comes to."""


def task(key: Key, **spec: object) -> Declared:
    return declared(key, lieutenantRef={"name": LT.name}, prompt=f"piece {key.name}", **spec)


def steer(**spec: object) -> Declared:
    return task(STEER, delivery="Steer", target={"name": DROPPED.name}, landSeconds=3600, **spec)


async def ended(run: Run, *keys: Key) -> None:
    await run.until(lambda: all(run.phase(key) == ENDS[key][0] for key in keys), f"{', '.join(key.name for key in keys)} end as they must")


def has_written(run: Run) -> bool:
    """The call of the turn that is on has its result: nothing that is said now lands before the long work has ended."""
    return all(b'"toolResult"' in machine.session.splitlines()[-1] for machine in run.world.alive())


async def story(run: Run) -> None:
    world = run.world
    world.calls = list(WRITES)

    def command(asked: GuestCommand) -> int:
        """The check passes once the agent was told what failed."""
        told = any("exit code 2" in text for _, text in world.prompts)
        return 2 if asked.argv == ("make", "check") and not told else 0

    def answer(prompt: str) -> tuple[str, str]:
        return ("", "error") if f"/{ERRING.name} attempt 1" in prompt else ("done", "stop")

    world.commands, world.answer = command, answer
    limits = {"taskTimeoutSeconds": 0, "noProgressSeconds": 0, "firstArtifactSeconds": FIRST_FILE}
    await run.declare(
        declared(LT, role="Keep the API", profileRef={"name": "lightweight"}, limits=limits),
        task(CHECKED, acceptance=CHECKS, retries=1),
    )
    await ended(run, CHECKED)
    await run.declare(task(ERRING, retries=1))
    await ended(run, ERRING)

    world.work_seconds = LONG
    await run.declare(task(DROPPED), task(BEHIND, after=[{"name": DROPPED.name}]))
    await run.until(lambda: run.phase(DROPPED) == "Running" and has_written(run), "a long piece of work runs")
    await run.declare(steer())
    await run.until(lambda: run.phase(STEER) == "Delivering", "a steer is on its way")
    await run.declare(steer(cancel=True))
    await ended(run, STEER)
    await run.declare(task(DROPPED, cancel=True))
    await ended(run, DROPPED, BEHIND)

    world.calls = []
    await run.declare(task(EMPTY))
    await ended(run, EMPTY)
    world.work_seconds = SHORT
    await run.declare(task(LAST))
    await ended(run, LAST)
    await leave(run, LT)


def judge(run: Run) -> None:
    treated_well(run)
    where = run.describe()
    left_nothing(run, made=1)
    for key, (phase, prompts) in ENDS.items():
        assert run.phase(key) == phase, f"{key.name} is {run.phase(key)}; {where}"
        assert delivered(run, key.name) == prompts, f"{key.name} came to {delivered(run, key.name)} prompts; {where}"
    for key, reason in ((CHECKED, "AcceptanceFailed"), (ERRING, "ModelError")):
        item = run.engine.table.task(key)
        assert item is not None
        assert [attempt.reason for attempt in item.record.attempts] == [reason], where


SCENARIO = Scenario("checked-work", story, judge, points=740)
