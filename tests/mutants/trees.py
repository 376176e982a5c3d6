"""Mutants of hierarchies: their order, their limits, and what is taken back."""

from __future__ import annotations

from pathlib import Path

from reconciler.core.lieutenant import status
from reconciler.core.profile import bake
from reconciler.core.slot import adoption
from reconciler.core.slot import policies as slot_policies
from reconciler.core.tree import handover, machine, order, places, policies, removal
from reconciler.core.tree.removal import NodeRemoval
from reconciler.engine.kinds.bootprofile import BootProfileKind
from reconciler.engine.kinds.machine import MachineKind
from reconciler.engine.observe import trees
from reconciler.engine.triggers import Triggers
from tests.core import test_explore_tree, test_removal
from tests.core import test_tree_properties as properties
from tests.engine import test_cold_start, test_lost_store, test_tree_adoption, test_tree_machines, test_trees
from tests.engine import test_node_categories as categories
from tests.faults.harness import Fault
from tests.faults.play import play
from tests.faults.scenarios import tree_grows, tree_shrinks, tree_sleeps
from tests.mutants.mutant import Mutant


def a_tree_that_grows(path: Path) -> None:
    play(tree_grows.SCENARIO, path / "grows.db", None)


def a_set_of_which_two_want_one(path: Path) -> None:
    test_tree_adoption.test_of_two_declarations_that_want_one_machine_one_gets_it_and_the_other_says_whose_it_is(path)


def a_tree_that_shrinks(path: Path) -> None:
    play(tree_shrinks.SCENARIO, path / "shrinks.db", None)


def a_tree_that_sleeps(path: Path) -> None:
    play(tree_sleeps.SCENARIO, path / "sleeps.db", None)


def a_list_that_lacks_one_that_boots(path: Path) -> None:
    names = play(tree_shrinks.SCENARIO, path / "reference.db", None).life.names
    for number in [number for number, name in enumerate(names, 1) if name == "vers.create_vm"]:
        play(tree_shrinks.SCENARIO, path / f"{number}.db", Fault(number, "list-short"))


def an_explored_tree(_: Path) -> None:
    test_explore_tree.Explored("two", edits=3, faults=1)
    test_explore_tree.Explored("fork", edits=1, faults=1)


def an_explored_star_of_five(_: Path) -> None:
    test_explore_tree.Explored(test_explore_tree.called("a(bcde)"), edits=1, faults=0, most=5)


def an_explored_chain_of_four(_: Path) -> None:
    test_explore_tree.Explored(test_explore_tree.called("a(b(c(d)))"), edits=2, faults=0, most=4)


EXPLORED_TREES = ("children-first-up", "parents-first-down", "roots-deleted-first", "gone-and-waited-for", "limit-ignored")
"""Mutants that exploring a small tree finds as well."""


def an_order_that_goes_on(_: Path) -> None:
    properties.test_what_was_declared_before_never_holds_up_what_is_declared_now()


def fewer_replicas(_: Path) -> None:
    properties.test_fewer_replicas_never_take_one_that_works_and_more_move_none()


def a_node_of_another_kind(path: Path) -> None:
    categories.test_what_a_node_has_works_on_until_the_other_one_is_ready_and_has_its_files(path, "agent")


def a_node_whose_new_machine_fails(path: Path) -> None:
    categories.test_a_machine_that_can_not_be_prepared_costs_none_that_works(path, "none")


def a_node_without_room(path: Path) -> None:
    categories.test_without_room_for_both_it_waits_or_goes_first_as_declared(path, "none", "Wait")


def a_kept_node(_: Path) -> None:
    properties.test_a_kept_node_that_is_declared_again_is_as_any_other()


def a_stalled_tree(_: Path) -> None:
    properties.test_a_tree_of_which_one_is_stalled_and_the_others_wait_for_it_is_stalled()


def a_branch_that_is_let_go_of(_: Path) -> None:
    assert removal.removal(test_removal.spec("Orphan"), "back") == NodeRemoval(("back",), released=("leaf", "worker", "db"))


def a_commit_with_a_forged_name(path: Path) -> None:
    test_lost_store.test_what_is_not_proved_to_be_ours_and_of_that_profile_is_not_used("unsealed", path)


TREE_MUTANTS: tuple[Mutant, ...] = (
    Mutant("children-first-up", "G-13: no machine comes before the one above it", order, "not_up_yet",
           "if not seen.prepared:", "if False:", test_trees.test_machines_come_roots_first_and_go_leaves_first),
    Mutant("parents-first-down", "G-13: no machine is suspended before those below it", order, "not_down_yet",
           "(not seen.running and not seen.asleep)", "False", a_tree_that_sleeps),
    Mutant("roots-deleted-first", "G-13: no machine is deleted before those below it", order, "not_down_yet",
           "(seen.going and not seen.gone) if here.going", "False if here.going", a_tree_that_shrinks),
    Mutant("fourth-below", "G-13: every machine below it counts, however many there are", order, "not_down_yet",
           "in family.under(place):", "in list(family.under(place))[:3]:", an_explored_star_of_five),
    Mutant("third-above", "G-13: what stands above a suspended node is waited for as well", order, "not_up_yet",
           "in family.above(place):", "in list(family.above(place))[:2]:", an_explored_chain_of_four),
    Mutant("resumed-anyhow", "G-13: nothing is resumed before what stands above it", slot_policies, "follow_the_mode",
           "if s.not_up_yet is not None", "if False", a_tree_that_sleeps),
    Mutant("prepared-once", "G-13: what was prepared once proves nothing of a new machine", status, "machine_status",
           'if "machine" in previous and same', 'if "machine" in previous and view.vm_id',
           test_trees.test_what_another_machine_was_prepared_for_says_nothing_of_a_new_one),
    Mutant("a-ring", "G-13: what was declared before never contradicts what is", order.Family, "__init__",
           'if place.node not in self._from(place.parent) else ""', "", an_order_that_goes_on),
    Mutant("old-parents", "G-13: the parent that is declared now counts", order.Family, "__init__",
           "key=lambda place: place.going", "key=lambda place: not place.going", an_order_that_goes_on),
    Mutant("gone-and-waited-for", "G-13: what is gone is waited for by nobody", order, "not_down_yet",
           "and not seen.gone", "", an_order_that_goes_on),
    Mutant("limit-without-journal", "G-09: a create counts from the moment at which it is written down", trees.Trees, "ledger",
           "set(self._journal.under_way())", "set()", a_tree_that_grows),
    Mutant("no-settle-window", "G-02: a cold start makes nothing before late effects would have shown", Triggers, "listed",
           "self._clock.now() + self._settings.empty_store_seconds", "0.0",
           test_cold_start.test_a_cold_start_takes_back_a_tree_of_every_category_makes_nothing_for_a_window_and_deletes_nothing),
    Mutant("adopted-not-counted", "G-09: a machine that is taken over counts as well", adoption, "adopt_the_declared",
           "refused is None and s.no_room is not None", "False and s.no_room is not None",
           test_tree_adoption.test_what_is_taken_over_counts_against_the_limits_and_the_rest_is_not_touched),
    Mutant("shared-by-two", "G-02: what belongs to one is not taken over by another", adoption, "adopt_the_declared",
           "case Seen() if s.adopt.owner:", "case Seen() if False:", a_set_of_which_two_want_one),
    Mutant("unseen-not-counted", "G-09: a machine that one list lacks may still be booting", trees.Trees, "_booting",
           "return PREPARED not in noted(item, slot.vm_id)", "return False", a_list_that_lacks_one_that_boots),
    Mutant("limit-ignored", "G-09: never more machines than allowed", order, "no_room",
           "limit.there >= limit.most", "False", a_tree_that_grows),
    Mutant("working-withdrawn", "G-10: a replica that works is not taken", places, "ordinals_of",
           "if not use.get(place_name(node, one), Use()).working", "", fewer_replicas),
    Mutant("anyone-withdrawn", "G-10: those without a machine go first, then the longest idle", places, "dispensable",
           "return use.working, use.made, use.idle_since, -ordinal", "return use.working, use.made, 0.0, -ordinal", fewer_replicas),
    Mutant("nobody-kept", "G-10: what is to be kept is not deleted with what stood above it", policies, "take_back_what_is_removed",
           "policy is OnNodeRemoved.REPARENT", "False",
           test_trees.test_nodes_below_a_removed_one_stay_one_level_up_when_the_tree_says_so),
    Mutant("dragged-along", "G-10: a removed node takes none along unasked", policies, "take_back_what_is_removed",
           "if policy is OnNodeRemoved.REFUSE and not v.confirmed", "if False",
           test_trees.test_a_removed_node_with_others_below_is_refused_until_the_tree_says_what_becomes_of_them),
    Mutant("kept-for-ever", "G-10: a kept node that is declared again is as any other", policies, "needs_declaring",
           "remembered != place.record.but(digest=v.digests[place.name], beside=remembered.beside)",
           "remembered.digest != v.digests[place.name]", a_kept_node),
    Mutant("tree-unprotected", "G-05: a tree with a protected node goes only when that is confirmed", policies,
           "protect_before_the_end", "if not guarded:", "if True:",
           test_trees.test_a_tree_with_a_protected_node_goes_only_when_that_is_confirmed),
    Mutant("another-kind-leaks", "G-05: a node of another kind gives back what it had", handover, "hand_over",
           "in pairs(v)", "in ()", a_node_of_another_kind),
    Mutant("another-kind-unready", "G-14: what a node had goes only when the machine in its place is ready", handover, "next_step",
           "if new.ready:", "if True:", a_node_whose_new_machine_fails),
    Mutant("another-kind-emptied", "G-14: what a node had goes only when its files are on the machine in its place", handover, "next_step",
           "return CarryFiles(place.name, old, new.vm_id)", 'return NoteBeside(place.name, "Going")', a_node_of_another_kind),
    Mutant("another-kind-first", "G-14: what a node had goes first only where that is declared", handover, "next_step",
           "if other.in_the_way else None", "if new is not None else None", a_node_without_room),
    Mutant("another-kind-works", "G-14: a new agent gets no work before the files are there", trees.Trees, "_changes_hands",
           'else state in ("Making", "Settling")', "else False",
           categories.test_a_new_agent_gets_no_work_before_the_files_are_there),
    Mutant("machine-unconfirmed", "G-14: the old machine goes only when the new one was looked into", machine, "confirm_the_new",
           "isinstance(v.lt.agent, Agent) and isinstance(v.lt.guest, Guest) and PREPARED in v.lt.guest.marks", "True",
           test_tree_machines.test_the_old_machine_is_taken_back_when_the_new_one_falls_silent),
    Mutant("machine-unlooked", "G-11: a snapshot of a machine without an agent is restored for a look too", MachineKind, "plan",
           "beside = spare.plan(snapshot.lieutenant, not is_action(decided))", "beside = None",
           test_tree_machines.test_a_snapshot_of_it_is_restored_for_a_look_and_status_says_which),
    Mutant("waits-for-the-stalled", "G-46: who waits for a stalled one does not move", policies, "report_the_nodes",
           "if held_back(found.reason)", "if False", a_stalled_tree),
    Mutant("released-deleted", "G-05: what a branch lets go of is not deleted", removal, "removal",
           "policy in (OnNodeRemoved.REPARENT, OnNodeRemoved.ORPHAN)", "policy is OnNodeRemoved.REPARENT", a_branch_that_is_let_go_of),
    Mutant("baked-by-anyone", "G-02: only a commit that is proved ours is taken for what was baked", BootProfileKind, "_ours",
           "isinstance(tenancy.origin_by_name(commit, owner), Made)", "True", a_commit_with_a_forged_name),
    Mutant("baked-again", "G-04: what could not be read is not taken for nothing", bake, "take_up_what_was_lost",
           "if v.unread:", "if False:", test_lost_store.test_while_the_platform_does_not_say_what_was_baked_nothing_is_baked),
)  # fmt: skip
