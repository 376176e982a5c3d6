"""What is not asked again of a lieutenant, since nothing that it goes by has changed, would say nothing."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.api.lieutenant import PostTask
from reconciler.core.lieutenant.goeson import slot_is_as_before
from reconciler.core.lieutenant.policies import SLOT, plan
from reconciler.core.lieutenant.preparation import PREPARED, check_mark, marks_of, prepare_the_machine, step_mark
from reconciler.core.lieutenant.reach import REACH
from reconciler.core.plan import is_action
from reconciler.core.snapshot.agent import NotStarted
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.rendered import Check, Step
from reconciler.core.snapshot.slot import Slot, SnapshotPolicy
from reconciler.core.snapshot.stages import Idle, SlotPart
from reconciler.core.snapshot.workset import GoesOn
from tests.core.views import FILLED, GUEST, NOW, RENDERED, RUNNING, VM, agent, lieutenant, lieutenants

MATTERS_NOT = {"lt", "slot", "idle", "memory"}
"""Of what the slot reads: compared in parts, or one that must be None."""


def on_its_machine(view: LieutenantView) -> LieutenantView:
    """The same about a slot that has nothing to say."""
    return replace(view, slot=FILLED, lt=replace(view.lt, record=view.record.but(slot=FILLED.record), vm_id=VM))


@given(lieutenants().map(on_its_machine))
def test_a_stage_without_an_opinion_can_be_left_out(view: LieutenantView) -> None:
    assert SLOT.evaluate(view) is None
    assert plan(view, GoesOn.INSIDE) == plan(view)
    if REACH.evaluate(view) is None:
        assert plan(view, GoesOn.PREPARED) == plan(view)


@given(lieutenants())
def test_before_it_is_called_steady_every_stage_is_asked_at_its_own_time(view: LieutenantView) -> None:
    late = replace(view, slot=replace(view.slot, now=view.now - 1.0))
    for goes_on in GoesOn:
        found = plan(late, goes_on)
        if goes_on and not is_action(found):
            assert found == plan(replace(view, slot=replace(view.slot, now=view.now)), goes_on)


SOME = st.sets(st.sampled_from([fact.name for fact in fields(LieutenantView)]), max_size=3)


@given(lieutenants().map(on_its_machine), lieutenants(), SOME, st.booleans())
def test_what_has_changed_without_it_leaves_the_slot_without_an_opinion(
    before: LieutenantView, other: LieutenantView, changed: set[str], asleep: bool
) -> None:
    then = replace(before, **{name: getattr(other, name) for name in changed})
    if "lt" in changed:
        then = replace(then, lt=replace(other.lt, record=before.lt.record, vm_id=VM, now=before.now))
    if asleep:
        then = replace(then, slot=replace(then.slot, quiet=not then.slot.quiet), idle=replace(then.idle, since=NOW - 5.0))
    if slot_is_as_before(before, then):
        assert SLOT.evaluate(then) is None


def differing(value: Any) -> Any:
    return object() if not isinstance(value, bool) else not value


@pytest.mark.parametrize("fact", [fact.name for fact in fields(SlotPart) if fact.name not in MATTERS_NOT])
def test_every_other_fact_that_the_slot_reads_is_compared(fact: str) -> None:
    then = replace(RUNNING, **{fact: differing(getattr(RUNNING, fact))})
    assert slot_is_as_before(RUNNING, RUNNING)
    assert not slot_is_as_before(RUNNING, then)


@pytest.mark.parametrize("fact", [fact.name for fact in fields(Slot) if fact.name not in ("now", "quiet")])
def test_every_fact_of_the_slot_itself_is_compared(fact: str) -> None:
    then = replace(RUNNING, slot=replace(RUNNING.slot, **{fact: differing(getattr(RUNNING.slot, fact))}))
    if fact != "record":
        assert not slot_is_as_before(RUNNING, then)
    assert slot_is_as_before(RUNNING, replace(RUNNING, slot=replace(RUNNING.slot, now=NOW + 1.0, quiet=not RUNNING.slot.quiet)))


@pytest.mark.parametrize("fact", [fact.name for fact in fields(Idle) if fact.name != "since"])
def test_what_work_there_is_is_compared(fact: str) -> None:
    changed = {"after": 60, "post_task": PostTask.DELETE}.get(fact, differing(getattr(RUNNING.idle, fact)))
    assert not slot_is_as_before(RUNNING, replace(RUNNING, idle=replace(RUNNING.idle, **{fact: changed})))
    assert slot_is_as_before(RUNNING, replace(RUNNING, idle=replace(RUNNING.idle, since=NOW)))


def test_the_slot_is_asked_where_it_reads_what_an_act_inside_may_change() -> None:
    asked = RUNNING.slot.record.but(asked=True)
    record = RUNNING.record.but(slot=asked)
    for view in (
        replace(RUNNING, slot=replace(RUNNING.slot, snapshots=SnapshotPolicy("0 0 * * *"))),
        replace(RUNNING, slot=replace(RUNNING.slot, record=asked), lt=replace(RUNNING.lt, record=record)),
        replace(RUNNING, idle=replace(RUNNING.idle, after=60)),
        replace(RUNNING, idle=replace(RUNNING.idle, post_task=PostTask.SUSPEND)),
        replace(RUNNING, lt=replace(RUNNING.lt, record=RUNNING.record.but(spare=RUNNING.record.spare.but(purpose="Rollback")))),
    ):
        assert not slot_is_as_before(view, view)
    assert slot_is_as_before(RUNNING, replace(RUNNING, lt=replace(RUNNING.lt, agent=agent(NotStarted()))))
    assert not slot_is_as_before(RUNNING, replace(RUNNING, lt=replace(RUNNING.lt, record=RUNNING.record.but())))


# --- the last of a profile ------------------------------------------------------------------------------------------------------------

STEP = Step("deps", "make deps", 60, 0)
CHECK = Check("there", ("true",), 0, None, 60, 0, "Verify")


def test_the_last_step_or_check_of_a_profile_says_that_all_of_it_is_through() -> None:
    made = replace(RENDERED, steps=(STEP,), checks=(CHECK,), organs=(), organ_checks=(), organs_hash="", capabilities=())
    fresh = {name: value for name, value in GUEST.marks.items() if name not in (PREPARED, step_mark(STEP)[0], check_mark(CHECK)[0])}
    after_the_step = fresh | marks_of(made, fresh, step_mark(STEP))
    assert PREPARED not in after_the_step
    after_the_check = after_the_step | marks_of(made, after_the_step, check_mark(CHECK))
    assert after_the_check[PREPARED] == made.profile_hash
    assert prepare_the_machine(lieutenant(rendered=made, guest=replace(GUEST, marks=after_the_check))) is None
    earlier = marks_of(made, fresh, check_mark(CHECK))
    assert PREPARED not in earlier, "a step is left"
    assert marks_of(made, after_the_check, check_mark(CHECK)) == dict([check_mark(CHECK)]), "what was prepared stays as it was prepared"
