"""Models in order of preference, from outside: the real pi, two providers, of which the first says no for a while."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from reconciler.agent.scripted_model import ScriptedModel
from tests.background import Platform, eventually
from tests.e2e.chaos import AGENT, Books
from tests.e2e.test_local import LOCAL, Here, run
from tests.e2e.test_local import here as here
from tests.program import Program

pytestmark = [pytest.mark.real("pi"), pytest.mark.real("bwrap"), pytest.mark.slow]

PROFILE = """apiVersion: fleet.vers.sh/v1alpha1
kind: BootProfile
metadata: {{name: scripted}}
spec:
  extends: {{name: lightweight}}
  agent:
    providers:
    - {{name: first, baseUrl: "{first}", api: openai-completions}}
    - {{name: second, baseUrl: "{second}", api: openai-completions}}
"""
MODEL = "  model: {provider: first, id: scripted, fallbacks: [{provider: second, id: scripted}]}\n"
ASKED_SECONDS = 20
"""For so long the first one asks to be left alone: longer than pi itself tries again for."""


@pytest.fixture
def first(real: Platform) -> Iterator[ScriptedModel]:
    """A provider that refuses everything, until a test lets it answer."""
    refusing = ScriptedModel([("", [{"status": 429, "message": "Rate limit reached", "retry_after": ASKED_SECONDS}])])
    real.run(refusing.start())
    yield refusing
    real.run(refusing.stop())


@pytest.mark.guarantee("G-21")
@pytest.mark.guarantee("G-27")
def test_the_second_answers_while_the_first_refuses_and_the_first_is_back_when_it_answers(
    real: Platform, reconciler: Program, here: Here, first: ScriptedModel
) -> None:
    second = real.model
    (reconciler.folder / "specs" / "profile.yaml").write_text(PROFILE.format(first=first.url, second=second.url))
    (reconciler.folder / "specs" / "here.yaml").write_text(LOCAL.replace("{PLACEMENT}", "{type: Local}") + MODEL)
    books = Books(reconciler)

    def status() -> Any:
        return reconciler.json("get", "lt", "here")["status"]

    with run(reconciler, "controller"):
        books.ready("here", 120)
        pids = here.running(AGENT)
        books.send("one", "here", "Work [one]")
        record = books.done("one")
        assert record.attempts == (), "no attempt is spent on the refusal"
        assert len(first.requests) == 1, "pi did not ask again what had asked to be left alone"
        assert len(second.requests) == 1
        told = status()
        assert (told["fallback"]["model"], told["fallback"]["insteadOf"]) == ("second/scripted", "first/scripted")
        assert "Rate limit reached" in told["fallback"]["message"]
        assert told["agent"]["model"] == "second/scripted", "pi itself says so"
        (configured,) = [one for one in told["conditions"] if one["type"] == "AgentConfigured"]
        assert (configured["status"], configured["reason"]) == ("True", "FallbackUsed")

        port = int(first.url.rpartition(":")[2].partition("/")[0])
        real.run(first.stop())
        again = ScriptedModel(port=port)
        real.run(again.start())
        try:
            number = 0

            def back() -> bool:
                nonlocal number
                number += 1
                books.send(f"more-{number}", "here", f"More [{number}]")
                books.done(f"more-{number}")
                return len(again.requests) > 0

            eventually(back, "the first is tried again by a prompt of a task", 120, pause=5)
            eventually(lambda: "fallback" not in status(), "it is back")
            asked = len(second.requests)
            books.send("last", "here", "Last")
            books.done("last")
            assert len(second.requests) == asked
            assert status()["agent"]["model"] == "first/scripted"
        finally:
            real.run(again.stop())
        assert here.running(AGENT) == pids, "one pi did all of it"
        reasons = [one["reason"] for one in reconciler.json("events", "--for", "lt/here")["items"]]
        assert reasons.count("FallbackUsed") == 1
        assert reasons.count("FallbackEnded") == 1
