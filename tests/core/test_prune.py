"""What is deleted for being absent, as tables: every condition by itself keeps everything, and only all of them together delete (G-43)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.api.parsing import load_spec
from reconciler.core.keys import Json, Key
from reconciler.core.prune import APART, Absence, Removal, StackState, absences, digest, machines, parts, prune, to_come

UUID = "5f0c2c0e-6a0e-4d7b-9a53-0f2a2f0a1c11"


def gone(name: str, **more: object) -> Removal:
    return Removal(Key("Lieutenant", "default", name), uid=f"uid-{name}", generation=1, **more)  # type: ignore[arg-type]


A, B, C = gone("a"), gone("b"), gone("c")
FIT = StackState(UUID, "/fleet", prune=True, max_delete=2, declared=3, known=5, removals=(A, B))


def decided(stack: StackState, seconds: float = APART, approved: tuple[str, ...] = ()) -> tuple[tuple[Removal, ...], str]:
    """What is due after an absence of so many seconds, and why anything is blocked."""
    result = prune(stack, absences({}, [stack], 100.0), 100.0 + seconds, approved)
    return result.due, result.blocked.why if result.blocked else ""


def test_what_is_absent_long_enough_from_a_clean_stack_that_prunes_is_deleted() -> None:
    assert decided(FIT) == ((A, B), "")


@pytest.mark.guarantee("G-43")
@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"prune": False}, "`prune`"),
        ({"id": ""}, "no `.reconciler.yaml`"),
        ({"unclear": "/fleet/b.yaml:3 has to be mended first"}, "mended"),
        ({"declared": 0}, "allowEmpty"),
        ({"max_delete": 1}, "allows 1"),
        ({"max_delete": 0}, "allows 0"),
        ({"max_delete": None, "known": 9}, "allows 1"),
        ({"removals": (A, replace(B, machines=2))}, "allows 2"),
        ({"removals": (replace(A, protected=True),)}, "protected"),
    ],
)
def test_each_condition_by_itself_keeps_everything_and_says_why(change: dict[str, object], word: str) -> None:
    due, why = decided(replace(FIT, **change))  # type: ignore[arg-type]
    assert due == ()
    assert word in why


def test_what_is_still_to_come_is_foreseen_and_what_is_done_is_not_told_again() -> None:
    waiting, done = prune(FIT, {}, 100.0), prune(FIT, dict.fromkeys(FIT.removals, Absence(0.0)), 100.0)
    assert (waiting.due, done.due) == ((), (A, B))
    capped = prune(replace(FIT, max_delete=1), {}, 100.0)
    found = to_come([waiting, done, capped])
    assert [one.due for one in found] == [(A, B), (), ()]
    assert [one.blocked.removals if one.blocked else () for one in found] == [(), (), (A, B)]
    [approved] = to_come([capped], {digest(UUID, FIT.removals)})
    assert (approved.due, approved.blocked) == ((A, B), None)


def test_a_fifth_may_go_where_no_cap_is_set_and_always_one() -> None:
    assert decided(replace(FIT, max_delete=None, known=10))[0] == (A, B)
    assert decided(replace(FIT, max_delete=None, known=1, removals=(A,)))[0] == (A,)


def test_emptying_is_allowed_by_declaration_and_the_cap_holds_all_the_same() -> None:
    assert decided(replace(FIT, declared=0, allow_empty=True))[0] == (A, B)
    assert decided(replace(FIT, declared=0, allow_empty=True, max_delete=1))[0] == ()


@pytest.mark.guarantee("G-43")
def test_nothing_goes_before_its_time_and_a_break_begins_anew() -> None:
    assert decided(FIT, APART - 0.01) == ((), "")
    assert prune(FIT, absences({}, [FIT], 0.0), 4.0).wait == APART - 4.0
    first = absences({}, [FIT], 0.0)
    back = absences(first, [replace(FIT, removals=(B,))], 5.0)
    again = absences(back, [FIT], 9.0)
    assert (again[A].since, again[B].since) == (9.0, 0.0)
    assert absences(first, [replace(FIT, unclear="broken")], 5.0) == {}
    assert absences(first, [replace(FIT, stamp="written anew")], 5.0)[A] == Absence(5.0, "written anew")


def test_what_is_protected_holds_nothing_else_back() -> None:
    guarded = replace(B, protected=True)
    result = prune(replace(FIT, removals=(A, guarded)), {}, 0.0)
    assert result.wait == APART
    result = prune(replace(FIT, removals=(A, guarded)), absences({}, [replace(FIT, removals=(A, guarded))], 0.0), APART)
    assert result.due == (A,)
    assert result.blocked is not None
    assert result.blocked.removals == (guarded,)


@pytest.mark.guarantee("G-43")
def test_an_approval_is_for_exactly_what_was_listed() -> None:
    over = replace(FIT, max_delete=1)
    blocked = prune(over, absences({}, [over], 0.0), APART).blocked
    assert blocked is not None
    assert blocked.hash == digest(UUID, over.removals)
    assert f"`reconciler prune --approve {blocked.hash}`" in blocked.message
    assert decided(over, approved=(blocked.hash,)) == ((A, B), "")
    assert decided(replace(over, removals=(A, B, C)), approved=(blocked.hash,))[0] == (), "one more is another list"
    assert decided(replace(over, removals=(A, replace(B, generation=2))), approved=(blocked.hash,))[0] == (), "it was changed since"
    assert decided(replace(over, unclear="broken"), approved=(blocked.hash,))[0] == (), "it can't be told now whether that is so"
    assert decided(over, seconds=1.0, approved=(blocked.hash,))[0] == ()


def test_a_message_names_a_few_and_counts_the_rest() -> None:
    many = replace(FIT, removals=tuple(gone(f"lt-{n:03}") for n in range(300)))
    blocked = prune(many, absences({}, [many], 0.0), APART).blocked
    assert blocked is not None
    assert "300 deletions wait of stack /fleet" in blocked.message
    assert "and 290 more" in blocked.message


# --- trees --------------------------------------------------------------------------------------------------------------------


def node(name: str, **more: object) -> Json:
    return {"name": name, "category": "Agent", "profileRef": {"name": "lightweight"}, **more}  # type: ignore[dict-item]


def tree(*nodes: Json) -> Json:
    return {"nodes": list(nodes)}


@pytest.mark.guarantee("G-43")
@pytest.mark.parametrize(
    ("before", "after", "lost"),
    [
        ([node("a"), node("b")], [node("a")], [("node b", 1, False)]),
        ([node("a", replicas=3)], [node("a", replicas=1)], [("replicas of a from 3 to 1", 2, False)]),
        ([node("a"), node("w", replicas=4, protected=True)], [node("a")], [("node w", 4, True)]),
        ([node("a", category="Infra")], [node("a")], [("machine without an agent of node a", 1, False)]),
        ([node("a")], [node("a", category="Infra")], [("agent of node a", 1, False)]),
        ([node("a", replicas=0), node("b")], [node("b")], []),
        ([node("a", replicas=1)], [node("a", replicas=3), node("b")], []),
        ([node("a"), node("b", parent="a")], [node("a"), node("b", mode="Suspended")], []),
    ],
)
def test_what_a_tree_loses_is_counted_in_machines(before: list[Json], after: list[Json], lost: list[tuple[str, int, bool]]) -> None:
    assert list(parts(load_spec("VMTree", tree(*before)), load_spec("VMTree", tree(*after)))) == lost


def test_a_tree_counts_as_its_places_and_anything_else_as_one() -> None:
    assert machines(load_spec("VMTree", tree(node("a"), node("w", replicas=4)))) == 5
    assert machines(load_spec("VMTree", tree(node("w", replicas=0)))) == 1
    assert machines(load_spec("Lieutenant", {"role": "x", "profileRef": {"name": "full"}})) == 1
    lt = load_spec("Lieutenant", {"role": "x", "profileRef": {"name": "full"}})
    assert parts(lt, lt) == ()
