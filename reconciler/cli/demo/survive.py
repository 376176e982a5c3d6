"""One agent whose process, machine and platform are taken away under it, one after another; it goes on and still knows."""

from __future__ import annotations

from reconciler.agent.scripted_model import MODEL
from reconciler.app import vers_of
from reconciler.cli.demo.stage import Stage
from reconciler.cli.demo.story import Story, answer, holds, leave, must_succeed, phase, pid, vm_of
from reconciler.core.keys import Json, Key
from reconciler.core.records import FINISHED
from reconciler.errors import GuestFailed

KEEPER_OF_NOTES = Key("Lieutenant", "default", "notes")
PROFILE = Key("BootProfile", "default", "scripted")
TOLD, WORK = Key("Task", "default", "told"), Key("Task", "default", "work")

FLEET = """
apiVersion: fleet.vers.sh/v1alpha1
kind: BootProfile
metadata: {{name: scripted}}
spec:
  extends: {{name: lightweight}}
  agent:
    model: {{provider: scripted, id: {model}}}
    providers:
    - {{name: scripted, baseUrl: "{url}", api: openai-completions}}
---
apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {{name: notes}}
spec:
  role: Keep in mind what you are told
  profileRef: {{name: scripted}}
  health: {{periodSeconds: 1}}
  restart: {{backoff: {{baseSeconds: 1}}}}
---
apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {{name: told}}
spec:
  lieutenantRef: {{name: notes}}
  prompt: "Keep in mind: the release is called Halcyon."
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
        ("Keep in mind", [{"say": "Noted."}]),
        ("whole inventory", [{"tool": "bash", "args": {"command": "sleep 0.3; ls /"}}]),  # until the machine dies under it
        ("first thing", [{"recall": True, "say": "{first}"}]),
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
    await stage.apply(FLEET.format(url=stage.model.url, model=MODEL))
    await stage.until("the first task", lambda: phase(stage, TOLD) in FINISHED, 90.0)
    must_succeed(stage, TOLD)


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
    await stage.until("the end of the work", lambda: phase(stage, WORK) in FINISHED)
    must_succeed(stage, WORK)
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
    await stage.until("the answer", lambda: phase(stage, question) in FINISHED)
    must_succeed(stage, question)
    if "Halcyon" not in answer(stage, question):
        raise GuestFailed(f"it no longer knows what it was told: {answer(stage, question)}", str(KEEPER_OF_NOTES))
