"""Which of several models is used, by what their breakers know."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.lieutenant.fallback import Candidate, choose, fallback_of, next_due
from reconciler.core.provider.breaker import CLOSED, ProviderBreaker
from reconciler.core.snapshot.provider import Provider
from reconciler.core.snapshot.rendered import ModelUse

NOW = 1_000.0
SHUT = ProviderBreaker("ProviderLimited", "429", NOW - 60, next_probe=NOW + 30)
DUE = ProviderBreaker("ProviderLimited", "429", NOW - 60, next_probe=NOW)


def one(name: str, breaker: ProviderBreaker = CLOSED, refused: bool = False, probing: bool = False) -> Candidate:
    return Candidate(ModelUse(name), Provider(name=name, model=name, breaker=breaker, probing=probing), refused)


CASES: dict[str, tuple[tuple[Candidate, ...], str, bool, bool, int]] = {
    "the first where it answers": ((one("a"), one("b")), "b", False, True, 0),
    "the next where it does not": ((one("a", SHUT), one("b"), one("c")), "a", False, True, 1),
    "the one after that": ((one("a", SHUT), one("b", SHUT), one("c")), "a", False, True, 2),
    "the first is tried again when its time has come": ((one("a", DUE), one("b")), "b", False, True, 0),
    "by a prompt, and not without one": ((one("a", DUE), one("b")), "b", False, False, 1),
    "by one at a time": ((one("a", DUE, probing=True), one("b")), "b", False, True, 1),
    "a turn keeps its model": ((one("a"), one("b")), "b", True, False, 1),
    "but not one that is none of them": ((one("a"), one("b")), "x", True, False, 0),
    "one that pi does not take is passed over": ((one("a", SHUT), one("b", refused=True), one("c")), "a", False, True, 2),
    "where none answers it stays": ((one("a", SHUT), one("b", SHUT)), "b", False, True, 1),
    "or is the first": ((one("a", SHUT), one("b", SHUT)), "", False, True, 0),
}


@pytest.mark.parametrize("name", CASES)
def test_which_is_used(name: str) -> None:
    candidates, has, sent, wanted, place = CASES[name]
    assert choose(candidates, has, sent, wanted, NOW) == place


def test_what_is_told_while_another_one_answers() -> None:
    told = fallback_of((one("a", SHUT), one("b")), 1)
    assert told is not None
    assert (told.model, told.instead_of, told.since) == ("b", "a", NOW - 60)
    assert "429" in told.why
    assert fallback_of((one("a"), one("b")), 0) is None


def test_when_the_next_one_may_be_tried() -> None:
    assert next_due((one("a", SHUT), one("b", DUE))) == NOW
    assert next_due((one("a", SHUT), one("b"))) == 0.0
    assert next_due((one("a", SHUT), one("b", refused=True))) == NOW + 30


CANDIDATES = st.lists(
    st.builds(one, st.sampled_from("abc"), st.sampled_from([CLOSED, SHUT, DUE]), st.booleans(), st.booleans()), min_size=1
)


@given(CANDIDATES, st.sampled_from("abcx"), st.booleans())
def test_no_prompt_goes_to_one_that_says_no_where_another_answers(candidates: list[Candidate], has: str, wanted: bool) -> None:
    place = choose(candidates, has, False, wanted, NOW)
    chosen = candidates[place]
    answering = [c for c in candidates if not c.refused and not c.provider.breaker.open]
    if answering:
        assert not chosen.provider.breaker.open or chosen.usable(wanted, NOW)
    assert choose(candidates, chosen.use.model, False, wanted, NOW) == place or len({c.use.model for c in candidates}) < len(candidates)
