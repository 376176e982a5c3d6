"""A world whose agents ask before they push: the call waits as the keeper lets it wait, and the world knows which of them a person
let run."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping

from reconciler.core.snapshot.agent import Question, Refusal, Refusals
from tests.world import Machine, Pi, World

RULE = "bash(git push*)"
PATIENCE = 600.0
"""Seconds after which a call that nobody answers is denied."""


class AskWorld(World):
    """`ran`: how often each command ran. `allowed`, `denied`: what the keeper was told of which question, and took. A question keeps its
    name until its call was let run, whoever ends meanwhile."""

    def __init__(self, work_seconds: float = 4.0) -> None:
        super().__init__(work_seconds)
        self.ran: Counter[str] = Counter()
        self.allowed: list[str] = []
        self.denied: list[tuple[str, str]] = []
        self.timed_out: list[str] = []

    async def permitted(self, m: Machine, pi: Pi, tool: str, arguments: Mapping[str, str]) -> str | None:
        command = arguments.get("command", "")
        if not command.startswith("git push"):
            return ""
        said = await self._asked(m, pi, command)
        if said == "":
            self.ran[command] += 1
        return said

    async def _asked(self, m: Machine, pi: Pi, command: str) -> str | None:
        name = question_of(command, self.ran[command])
        pi.asks = [*pi.asks, Question(name, f"bash({command})", command, RULE, "Lieutenant", self.now())]
        self.wake(m)
        end = self.now() + PATIENCE
        while self.now() < end:
            if not await self.pause(m, pi, 0.25):
                pi.asks = []
                return None
            answer = next((one for one in pi.answers if one[0] == name), None)
            if answer is not None:
                pi.answers.remove(answer)
                if answer[1]:
                    self.allowed.append(command)
                    return ""
                self.denied.append((command, answer[2]))
                pi.refused = Refusals((*pi.refused.told, Refusal(len(pi.refused.told) + 1, "call", f"bash({command})")))
                return f"Denied by a person: {answer[2]}"
        pi.asks = [ask for ask in pi.asks if ask.id != name]
        self.timed_out.append(command)
        return "Denied: nobody answered."


def question_of(command: str, times: int = 0) -> str:
    """The name of the question about this command; `times`: how often it was let run before."""
    digest = hashlib.sha256(command.encode()).hexdigest()[:8]
    return f"{digest}-{times}" if times else digest
