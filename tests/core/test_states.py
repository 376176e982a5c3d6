"""docs/states.md says what the code does."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core.states import CHAINS, Chain, states_markdown

PAGE = Path(__file__).resolve().parents[2] / "docs" / "states.md"


def test_the_committed_page_is_what_the_code_says() -> None:
    assert PAGE.read_text("utf-8") == states_markdown(), "write states_markdown() to docs/states.md again"


@pytest.mark.parametrize("chain", CHAINS, ids=lambda chain: chain.title)
def test_every_policy_says_what_it_is_for(chain: Chain) -> None:
    assert [policy.__name__ for policy in chain.policies if not policy.__doc__] == []
