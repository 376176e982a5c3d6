"""The real pi shortens its conversation by itself, with the whole program around: what a model found in it before is kept, and paid for."""

from __future__ import annotations

from typing import Any

import pytest

from tests.background import Platform, eventually
from tests.e2e.chaos import Books
from tests.e2e.conftest import PROFILE
from tests.e2e.test_local import LOCAL, Here, run
from tests.e2e.test_local import here as here
from tests.program import Program

pytestmark = [pytest.mark.real("pi"), pytest.mark.real("bwrap"), pytest.mark.slow]

MORE = """  memory: {scopes: [Agent], extractFacts: true}
  compaction: {reserveTokens: 127950, keepRecentTokens: 1}
"""
"""Whatever it says is more than what it may keep: it is shortened after every turn."""


@pytest.mark.guarantee("G-29")
@pytest.mark.guarantee("G-32")
def test_facts_of_a_conversation_that_is_shortened_are_in_the_store_and_in_the_books(
    real: Platform, reconciler: Program, here: Here
) -> None:
    (reconciler.folder / "specs" / "profile.yaml").write_text(PROFILE.format(url=real.model.url))
    (reconciler.folder / "specs" / "here.yaml").write_text(LOCAL.replace("{PLACEMENT}", "{type: Local}") + MORE)
    books = Books(reconciler)

    def asked(words: str) -> int:
        return sum(words in request.system.lower() for request in list(real.model.requests))

    def usage() -> Any:
        return reconciler.json("get", "usage")

    with run(reconciler, "controller"):
        books.ready("here", 120)
        for number, fact in enumerate(("the port is 8081", "staging is blue", "ada wants tabs")):
            books.send(f"t{number}", "here", f"FACT({fact})")
            books.done(f"t{number}")
        eventually(lambda: "staging is blue" in reconciler("memory", "get", "here"), "they are kept", 60)
        text = reconciler("memory", "get", "here")
        assert text.count("the port is 8081") == text.count("staging is blue") == 1
        assert asked("context summarization") >= 1
        assert asked("facts worth remembering") >= 1

        def counted() -> int:
            return sum(int(row["status"]["tokens"]) for row in usage()["items"])

        def spent() -> int:
            """On three answers, on looking for facts, and on summaries."""
            return 110 * (3 + asked("facts worth remembering") + asked("context summarization"))

        eventually(lambda: counted() == spent(), f"{spent()} tokens are in the books", 60)
