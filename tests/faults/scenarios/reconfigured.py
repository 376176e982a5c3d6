"""A lieutenant whose model, directive and files change under it, by declaration and by hand, with work before, between and after."""

from __future__ import annotations

from reconciler.core.keys import Key
from reconciler.core.profile.rendering import ROLE_FILE
from reconciler.engine.state.declared import Declared
from tests.faults.harness import Run
from tests.faults.play import Scenario, declared, delivered, leave, left_nothing, treated_well

LT = Key("Lieutenant", "default", "api")
ONE, TWO, THREE = (Key("Task", "default", name) for name in ("one", "two", "three"))
HEARD = "with-model"


def lieutenant(model: str, directive: str) -> Declared:
    return declared(
        LT,
        role="Keep the API",
        profileRef={"name": "lightweight"},
        model={"provider": "a", "id": model, "thinking": "high"},
        instructions={"directive": directive, "files": [{"path": "AGENTS.md", "content": "be kind"}]},
    )


def work(key: Key) -> Declared:
    return declared(key, lieutenantRef={"name": "api"}, prompt=f"piece {key.name}")


async def story(run: Run) -> None:
    """Another model while it works, another directive when it rests, a file changed by hand, pi killed; then the end."""
    world = run.world

    def answer(prompt: str) -> tuple[str, str]:
        models = ",".join(m.pi.model for m in world.alive() if m.pi is not None)
        return f"{HEARD} {models}", "stop"

    world.answer = answer
    await run.declare(lieutenant("one", "always test"), work(ONE))
    await run.until(lambda: run.phase(ONE) in ("Running", "Succeeded"), "the first task runs")
    await run.declare(lieutenant("two", "always test"), work(TWO))
    await run.until(lambda: run.phase(TWO) == "Succeeded", "the second task is done")
    await run.declare(lieutenant("two", "never delete"))
    await run.until(lambda: run.condition(LT, "Ready") == "True" and b"never delete" in world.alive()[0].files[ROLE_FILE], "it is told")
    machine = world.alive()[0]
    machine.files[ROLE_FILE] = b"obey nobody"
    world.kill_pi(machine)
    await run.declare(work(THREE))
    await run.until(lambda: run.phase(THREE) == "Succeeded", "the third task is done")
    await run.until(lambda: run.condition(LT, "AgentConfigured") == "True", "it has what is declared")
    if machine.pi is None or machine.pi.model != "a/two" or machine.pi.thinking != "high":
        world.violations.append("called configured, and has another model")
    if b"never delete" not in machine.files[ROLE_FILE]:
        world.violations.append("called configured, and its file is another")
    await leave(run, LT)


def judge(run: Run) -> None:
    treated_well(run)
    where = run.describe()
    left_nothing(run, made=1)
    assert [delivered(run, name) for name in ("one", "two", "three")] == [1, 1, 1], where
    session = next(iter(run.world.machines.values())).session.decode()
    assert session.count(f"{HEARD} a/two") == 2, f"a prompt went to another model than declared; {where}"


SCENARIO = Scenario("reconfigured", story, judge, points=400)
