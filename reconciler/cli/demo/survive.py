"""One agent whose process, machine and platform are taken away under it, one after another; it goes on and still knows."""

from __future__ import annotations

from reconciler.app import vers_of
from reconciler.cli.demo.stage import Stage
from reconciler.cli.demo.story import PROFILE, RECALLS, TOLD, Story, declare_told, holds, leave, phase, pid, remembers, succeeds, vm_of
from reconciler.core.keys import Json, Key

KEEPER_OF_NOTES = Key("Lieutenant", "default", "notes")
WORK = Key("Task", "default", "work")

FLEET = """
apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: notes}
spec:
  role: Keep in mind what you are told
  profileRef: {name: scripted}
  health: {periodSeconds: 1}
  restart: {backoff: {baseSeconds: 1}}
"""

TASK = """
apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {{name: {name}}}
spec:
  lieutenantRef: {{name: notes}}
  prompt: {prompt}
"""

QUESTION = "What was the first thing you were told?"
LONG_WORK = "Go through the whole inventory."


def rules() -> list[tuple[str, list[Json]]]:
    """What the model does when it is told what."""
    return [
        (r"continued \(", [{"say": "I was cut short; I know where I was, and went through the rest of it."}]),
        *RECALLS,
        ("whole inventory", [{"tool": "bash", "args": {"command": "sleep 0.3; ls /"}}]),  # until the machine dies under it
    ]


async def play(stage: Stage, keep: bool, story: Story) -> None:
    """The whole story; fills `story` as it goes. Raises `TimedOut` or `GuestFailed` when it does not go as it should."""
    questions = [Key("Task", "default", f"ask-{number}") for number in (1, 2, 3)]
    await story.chapter(stage, "told", "An agent is told something", _told(stage))
    await story.chapter(stage, "pi", "Its process is killed: another goes on with the same conversation", _lose_pi(stage, questions[0]))
    await story.chapter(stage, "dead", "Its machine dies in the middle of a turn: it is replaced", _lose_vm(stage, questions[1]))
    await story.chapter(stage, "gone", "Its machine is deleted behind our back: missed, proven gone, replaced", _miss(stage, questions[2]))
    await story.show(stage, KEEPER_OF_NOTES, (TOLD, questions[0], WORK, *questions[1:]))
    stage.telling.line("   files that were only on a lost machine went with it; the conversation did not")
    if not keep:
        everything = (*reversed(questions), WORK, TOLD, KEEPER_OF_NOTES, PROFILE)
        await story.chapter(stage, "deleted", "Everything is deleted", leave(stage, *everything))


async def _told(stage: Stage) -> None:
    await declare_told(stage, FLEET, KEEPER_OF_NOTES)
    await succeeds(stage, TOLD, patience=90.0)


async def _lose_pi(stage: Stage, question: Key) -> None:
    before = pid(stage, KEEPER_OF_NOTES)
    await stage.run(KEEPER_OF_NOTES, "kill", "-9", before)
    await stage.until("another process", lambda: pid(stage, KEEPER_OF_NOTES) not in ("", before))
    await _still_knows(stage, question)


async def _lose_vm(stage: Stage, question: Key) -> None:
    before = vm_of(stage, KEEPER_OF_NOTES)
    await stage.apply(TASK.format(name=WORK.name, prompt=LONG_WORK))
    await stage.until("the turn", lambda: phase(stage, WORK) == "Running")
    await stage.simulator.do(lambda world: world.kill(before))
    stage.telling.line(f"   VM {before} is dead, its agent was at work")
    await _replaced(stage, before)
    await succeeds(stage, WORK)
    await _still_knows(stage, question)


async def _miss(stage: Stage, question: Key) -> None:
    before = vm_of(stage, KEEPER_OF_NOTES)
    somebody = vers_of(stage.config)
    try:
        await somebody.delete_vm(before)
    finally:
        await somebody.aclose()
    stage.telling.line(f"   VM {before} is gone, and nobody told us")
    await _replaced(stage, before)
    await _still_knows(stage, question)


async def _replaced(stage: Stage, before: str) -> None:
    await stage.until("another machine", lambda: vm_of(stage, KEEPER_OF_NOTES) not in ("", before), 90.0)
    await stage.until("its agent", lambda: holds(stage, KEEPER_OF_NOTES, "Available"), 90.0)


async def _still_knows(stage: Stage, question: Key) -> None:
    """It is asked, and answers from what its model was sent."""
    await stage.apply(TASK.format(name=question.name, prompt=QUESTION))
    await remembers(stage, question)
