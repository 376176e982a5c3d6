"""Broken on purpose: each mutant breaks one promise by one small change of the source, and names the scenario that must notice.

A suite that lets one of them live is not done."""

from __future__ import annotations

from pathlib import Path

from reconciler.core import conditions
from reconciler.core.fleet.breaker import Breaker
from reconciler.core.lieutenant import changeover, reach, replacement, session, workspace
from reconciler.core.lieutenant import policies as lieutenant
from reconciler.core.slot import deletion, marks, pairing, tenancy
from reconciler.core.slot import policies as slot_policies
from reconciler.core.task import limits, steer
from reconciler.core.task import policies as task
from reconciler.core.task import provider as taskprovider
from reconciler.core.task import queue as task_queue
from reconciler.core.task import view as taskview
from reconciler.engine.act.preparation import BootActs
from reconciler.engine.act.sending import Sending
from reconciler.engine.act.slot import SlotActs
from reconciler.engine.observe.fleet import Fleet
from reconciler.engine.observe.slots import Slots
from reconciler.vers import errors as vers_errors
from tests.core import test_breaker, test_explore, test_lieutenant, test_task
from tests.core import test_slot as test_vmslot
from tests.core.model import State
from tests.engine import (
    test_answers_not_written,
    test_conversation_lost,
    test_copied_disks,
    test_escalation,
    test_fork,
    test_outages,
    test_providers,
    test_quiet,
    test_replacement,
    test_sessions,
    test_tasks,
    test_tenancy,
    test_workspace,
)
from tests.faults import test_crash_everywhere
from tests.faults.harness import Fault
from tests.faults.play import play
from tests.faults.scenarios.one_lieutenant import SCENARIO
from tests.mutants.cluster import CLUSTER_MUTANTS
from tests.mutants.conversation import CONVERSATION_MUTANTS
from tests.mutants.credentials import CREDENTIAL_MUTANTS
from tests.mutants.governed import GOVERNED_MUTANTS
from tests.mutants.mutant import Mutant, Scenario
from tests.mutants.remembering import REMEMBERING_MUTANTS
from tests.mutants.spending import SPENDING_MUTANTS
from tests.mutants.trees import TREE_MUTANTS

# --- scenarios that are no test function of one argument ----------------------------------------------------------------------


def slot_table(_: Path) -> None:
    for name in test_vmslot.SCENARIOS:
        test_vmslot.test_scenario(name)


def lieutenant_table(_: Path) -> None:
    for name in test_lieutenant.SCENARIOS:
        test_lieutenant.test_scenario(name)


def task_table(_: Path) -> None:
    for name in test_task.SCENARIOS:
        test_task.test_scenario(name)


def forged_create(path: Path) -> None:
    test_tenancy.test_a_forged_create_gets_no_machine_of_another_namespace("commit", path)


def an_hour_without_room(_: Path) -> None:
    test_breaker.test_an_hour_without_room_costs_twelve_creates_at_most()
    test_breaker.test_when_the_time_comes_one_may_try_and_then_nobody_for_longer()


def an_unanswered_create_that_shows_late(path: Path) -> None:
    test_outages.test_own_creates_that_lists_do_not_show_yet_are_not_made_again(False, path)


def one_wrong_list_after_a_lost_answer(path: Path) -> None:
    test_outages.test_one_empty_list_after_the_window_gives_up_no_create(0, path)


def a_refusal_from_between(_: Path) -> None:
    test_crash_everywhere.test_a_refusal_after_the_effect_makes_no_second_vm("one-lieutenant")


def the_explored_model(_: Path) -> None:
    test_explore.Explored(State(test_explore.BUDGETS["everything once"][0]))


EXPLORED = ("no-window", "believe-one-list", "delete-uncondemned", "dropped-unproven", "busy-deleted", "suspend-while-busy")
"""Mutants that exploring the small model finds as well, with a shortest trace."""


def a_loss_that_waits(path: Path) -> object:
    return test_conversation_lost.test_with_fail_nothing_goes_on_until_a_person_says_so(path, "vanishes")


def a_lost_conversation(path: Path) -> object:
    return test_conversation_lost.test_with_new_a_task_in_the_lost_conversation_is_tried_again_as_its_retries_say(path, "dies", 0, "Failed")


def more_than_was_saved(path: Path) -> object:
    lost = test_conversation_lost.test_a_machine_with_more_than_could_be_saved_is_not_replaced_by_one_that_knows_less
    return lost(path, "dies")


def a_timeout(path: Path) -> None:
    test_tasks.test_a_limit_aborts_the_turn_and_the_next_task_runs({"taskTimeoutSeconds": 20}, "TaskTimeout", path)


def at(effect: str, kind: str, later: int = 0) -> Scenario:
    """The whole story of the crash harness with one fault at the first such effect (or so many effects later)."""

    def scenario(path: Path) -> None:
        names = play(SCENARIO, path / "reference.db", None).life.names
        play(SCENARIO, path / "fault.db", Fault(names.index(effect) + 1 + later, kind))

    scenario.__name__ = f"{kind}_at_{effect.replace('.', '_')}" + (f"_and_{later}" if later else "")
    return scenario


CRASH_AFTER_CREATE = at("vers.create_vm", "crash-after")
UNWRITTEN_CREATE = at("vers.create_vm", "error", later=1)
ANSWERED = test_answers_not_written.test_what_is_known_to_be_anothers_is_no_candidate_for_an_answer_that_was_lost
LATE_PROMPT = at("keeper.send", "late")
CRASH_AFTER_PROMPT = at("keeper.send", "crash-after")

COPIED_AT_WORK = test_fork.test_the_source_is_copied_between_two_tasks_and_its_queue_goes_on_at_once

MUTANTS: tuple[Mutant, ...] = (
    Mutant("no-intent", "G-02: an intent is durable before the create is sent", SlotActs, "create",
           "slot, *t.journal.writes_to_open(intent)", "slot", CRASH_AFTER_CREATE),
    Mutant("blind-retry", "G-02: an unanswered create is looked for, not repeated", SlotActs, "create",
           "except REFUSED as error:", "except ReconcilerError as error:",
           test_outages.test_a_create_whose_answer_is_lost_is_adopted_by_its_birth_label),
    Mutant("close-before-durable", "G-02: an intent is closed only after its row", SlotActs, "occupy",
           "said = self.books", "t.journal.closed(intent); said = self.books", UNWRITTEN_CREATE),
    Mutant("forgets-the-answer", "G-02: what a create made is known while it can't be written down", SlotActs, "create",
           "t.journal.answered(intent, vm_id, t.clock.now())", "t.journal.in_doubt(intent, t.clock.now())", ANSWERED),
    Mutant("taken-for-another", "G-07: what is known to be another's fits no lost answer", Slots, "open_intent",
           "self.journal.all_made()", "frozenset[str]()", ANSWERED),
    Mutant("copied-at-work", "G-33: a live copy is made between two tasks", session, "stand_still",
           "v.lt.active_task or not v.lt.settled or", "", COPIED_AT_WORK),
    Mutant("not-held", "G-33: the queue of what is being copied waits", task, "wait_for_its_turn",
           "if v.copied_by:", "if False:", COPIED_AT_WORK),
    Mutant("stands-for-ever", "G-33: who was copied goes on with its work", session, "move_on",
           "if not v.copies.asked:", "if False:", test_fork.test_three_copies_of_one_source_at_once),
    Mutant("checked-by-the-parent", "G-33: what was checked on the source was not checked on its copy", marks, "valid",
           "name.startswith(KEPT)", "True", test_fork.test_steps_that_the_disk_has_are_not_run_again_and_checks_are),
    Mutant("no-window", "G-02: a create is given up only after the settle window", slot_policies, "settle_the_open_intent",
           "if s.intent.settled and not s.vanished:", "if not s.vanished:", an_unanswered_create_that_shows_late),
    Mutant("one-list-settles", "G-02: a create is given up after two lists without its VM", Slots, "open_intent",
           "settled=twice if lacks else over", "settled=over", one_wrong_list_after_a_lost_answer),
    Mutant("given-up-in-a-vanished-fleet", "G-02: no create is given up while many VMs are missing",
           slot_policies, "settle_the_open_intent",
           "if s.intent.settled and not s.vanished:", "if s.intent.settled:",
           test_outages.test_while_many_vms_are_missing_no_create_is_given_up_and_none_is_sent),
    Mutant("one-for-two", "G-02: one VM is never given to two creates", pairing, "_restored",
           "if vm is not its", "",
           test_outages.test_two_lost_creates_from_one_commit_each_find_a_vm_of_their_own),
    Mutant("any-lineage", "G-07: only a VM of the same commit is adopted", pairing.Pending, "of_lineage",
           "known.parent_commit_id == self.commit", "bool(self.commit)",
           test_outages.test_a_restored_vm_whose_answer_is_lost_is_adopted_by_its_lineage),
    Mutant("copied-marks", "G-27: a mark is valid only on the machine that it names", marks, "valid",
           "machine == place and", "bool(machine) and",
           test_copied_disks.test_a_profile_from_a_commit_of_a_prepared_machine_is_applied),
    Mutant("same-epoch", "G-62: each VM of a slot has a higher epoch", SlotActs, "create",
           "item.record.epoch + 1", "max(1, item.record.epoch)",
           test_sessions.test_a_dead_vm_is_replaced_and_the_conversation_goes_on_with_its_memory),
    Mutant("believe-one-list", "G-03: one missing list proves nothing", slot_policies, "believe_only_proven_absence",
           "if s.vm.proven:", "if True:", test_outages.test_a_vm_missing_from_lists_alone_is_kept),
    Mutant("no-second-look", "G-03: the VM's own status is asked before it is forgotten", Fleet, "_absence",
           "return Absent(proven=vm.state is VmState.DEAD)", "return Absent(proven=True)",
           test_outages.test_a_vm_missing_from_lists_alone_is_kept),
    Mutant("forget-on-error", "G-03, G-04: an error proves nothing", Fleet, "look",
           "return unread(error)", "return Absent(proven=True)",
           test_outages.test_a_deletion_asked_for_in_an_outage_waits_and_then_happens),
    Mutant("vanished-ignored", "G-03: never many VMs at once without a person", slot_policies, "believe_only_proven_absence",
           "if s.vanished:", "if False:",
           test_outages.test_when_the_fleet_vanishes_nothing_is_forgotten_until_a_person_says_so),
    Mutant("account-ignored", "G-03: another account's key concludes nothing", slot_policies, "stop_at_another_account",
           "s.account != s.record.account", "False", slot_table),
    Mutant("unknown-ignored", "G-04: unknown triggers nothing", slot_policies, "stop_at_unknown",
           "if isinstance(s.vm, Unknown)", "if False", slot_table),
    Mutant("delete-uncondemned", "G-05: marked for deletion durably before the call", deletion, "deletion_chain",
           'MarkForDeletion(vm_id, "its object was deleted", "Deleted")',
           "__import__(MarkForDeletion.__module__, fromlist=[\"Delete\"]).Delete(vm_id)", slot_table),
    Mutant("dropped-unproven", "G-05: the finalizer stays until absence is proven", slot_policies, "delete_what_is_marked",
           "return Delete(s.record.vm_id)", "return ClearSlot(s.record.vm_id) if n else Delete(s.record.vm_id)",
           test_outages.test_an_accepted_deletion_that_deletes_nothing_keeps_the_object),
    Mutant("protected-ignored", "G-05: a protected VM waits for a person", slot_policies, "replace_the_dead",
           "if s.unconfirmed:", "if False:",
           test_sessions.test_a_protected_dead_vm_waits_for_a_person),
    Mutant("busy-deleted", "G-05: a running turn is ended before its machine goes", deletion, "deletion_chain",
           "if s.busy:", "if False:", test_tasks.test_deleting_a_busy_lieutenant_ends_its_turn_first_then_everything_of_it),
    Mutant("no-breaker", "G-06: probes are bounded", Breaker, "probe",
           "if not self.reason:", "if True:", an_hour_without_room),
    Mutant("refusal-believed", "G-02: a 403 proves of no create that it made nothing", vers_errors, "_refused",
           "case 403 if effect is not Effect.CREATE:", "case 403:", a_refusal_from_between),
    Mutant("claim-ignored", "G-07: another installation's VM is left alone", slot_policies, "respect_other_claims",
           "and s.vm.claimed_by", "and False", test_outages.test_a_vm_claimed_by_another_installation_is_left_alone),
    Mutant("another-teams-commit", "G-07: nothing is made from a commit of another namespace", tenancy, "not_allowed",
           "if named is None:", "if named is None or named.kind == 'commit':",
           test_tenancy.test_every_way_to_a_disk_of_another_namespace_is_refused_by_name_and_its_own_namespace_goes_it),
    Mutant("another-teams-machine", "G-07: a machine that another namespace let go is not adopted", tenancy, "origin_by_labels",
           "len(words) == 3 and", "False and",
           test_tenancy.test_every_way_to_a_disk_of_another_namespace_is_refused_by_name_and_its_own_namespace_goes_it),
    Mutant("unmarked-for-all", "G-07: what carries no mark is for those that the operator names", tenancy, "not_allowed",
           "if {namespace, EVERY} & sharing.unowned:", "if True:",
           test_tenancy.test_what_carries_no_mark_is_for_the_namespaces_that_the_operator_names),
    Mutant("forged-create", "G-07: a create gets only a machine of a commit that its namespace may use", Slots, "allowed",
           "if not candidates or not commit:", "if True:", forged_create),
    Mutant("released-paired", "G-07: what was let go is not taken for the outcome of a create", tenancy, "was_released",
           "== vm.vm_id", "== ''",
           test_tenancy.test_a_machine_that_was_let_go_is_never_taken_for_the_outcome_of_a_lost_create),
    Mutant("suspend-while-busy", "G-08: a busy agent is never cut off", slot_policies, "suspend_when_settled",
           "if s.busy:", "if False:", test_sessions.test_a_busy_lieutenant_is_suspended_when_its_turn_is_over),
    Mutant("send-before-durable", "G-20: the delivery is written before the prompt leaves", Sending, "begin",
           "await self.t.table.update([(task.key, written)])", "written", CRASH_AFTER_PROMPT),
    Mutant("fresh-key", "G-20: what was never heard goes again under the same key", task, "resolve_the_delivery",
           "resend=True, fresh_key=False", "resend=True", LATE_PROMPT),
    Mutant("any-marker", "G-20: only a message after the baseline is the delivery", taskview, "landed_at",
           "m.offset >= baseline and", "", task_table),
    Mutant("out-of-order", "G-20: the oldest task first", task_queue.TaskQueue, "ahead_of",
           "if before else", "if False else", test_tasks.test_tasks_run_in_order_one_at_a_time_each_once),
    Mutant("success-on-silence", "G-21: a good stop reason is needed", taskview, "ended_well",
           "return bool(said) and", "return True or", test_tasks.test_a_model_error_is_no_success_and_is_told_to_the_next_attempt),
    Mutant("acceptance-ignored", "G-21: acceptance decides", task, "judge_the_turn",
           "if v.has_acceptance else", "if False else",
           test_tasks.test_without_the_file_asked_for_it_has_failed_whatever_it_says),
    Mutant("bad-checks-pass", "G-21: one bad check is no success", task, "judge_the_checks",
           'if check != "ok"', 'if check == "bad"',
           test_tasks.test_without_the_file_asked_for_it_has_failed_whatever_it_says),
    Mutant("prompt-to-busy", "G-22: a prompt goes only to a settled session", task, "deliver",
           "or not v.talk.settled", "", task_table),
    Mutant("declined-ignored", "G-22: a failure verdict wins", task, "resolve_the_delivery",
           "return refused(v, error)", "return Deliver(v.record.attempt, resend=True)", task_table),
    Mutant("landed-when-sent", "G-23: landed means seen in the conversation", steer, "note_the_steer",
           '== "Running"', '!= "Pending"', test_tasks.test_a_steer_that_is_not_seen_in_time_is_taken_back_and_expires),
    Mutant("never-taken-back", "G-23: an expired steer is taken out of pi's queue", steer, "resolve_the_steer",
           "or Withdraw()", 'or Finish("Expired", "NotLanded")',
           test_tasks.test_a_steer_that_is_not_seen_in_time_is_taken_back_and_expires),
    Mutant("crash-not-counted", "G-24, G-25: an unasked-for end is written down", lieutenant, "count_the_crash",
           "!= v.lt.record.restart.crash_at", "< 0", test_sessions.test_a_crash_loop_is_bounded_and_ends_when_the_declaration_changes),
    Mutant("loop-unbounded", "G-25: too many crashes stop it", lieutenant, "bound_the_crash_loop",
           "if restart.degraded:", "if False:",
           test_sessions.test_a_crash_loop_is_bounded_and_ends_when_the_declaration_changes),
    Mutant("turn-lost", "G-24: an interrupted turn goes on in the same attempt", task, "judge_the_turn",
           "or Continue(v.record.continues + 1, empty)", 'or TryAgain("SessionLost", "")',
           test_sessions.test_pi_killed_in_the_middle_of_a_turn_goes_on_with_it_on_the_same_session),
    Mutant("limit-costs-an-attempt", "G-21: a provider at its limit is waited for", taskprovider, "model_failed",
           "trouble.remedy is Remedy.REQUEST", "True", test_providers.test_what_the_provider_asks_for_is_waited),
    Mutant("no-probe-alone", "G-37: one probe at a time", taskprovider, "wait_for_the_provider", "v.provider.probing and not v.probes",
           "False", task_table),
    Mutant("nothing-is-a-success", "G-21: an answer with nothing in it is no evidence", taskview, "says_nothing",
           "return not message.text.strip()", "return False and not message.text.strip()",
           test_providers.test_an_empty_answer_is_no_evidence_it_is_continued_once_and_then_has_failed),
    Mutant("files-untold", "G-32: an agent knows that its files are gone", workspace, "note_the_lost_files",
           "not left\n        or", "left\n        or",
           test_workspace.test_the_agent_is_told_before_its_next_prompt_and_people_by_a_condition_and_a_warning),
    Mutant("timeout-ignored", "G-29: limits are enforced", limits, "must_end",
           "v.now >= begun(v.record) + v.timeout_seconds", "False", a_timeout),
    Mutant("escalation-skipped", "G-29: a stalled turn is steered before it is given up", limits, "escalate",
           "return None if step is not None and", "return None if step is None or step.step or",
           test_escalation.test_a_stalled_turn_is_steered_aborted_restarted_and_then_given_up),
    Mutant("step-not-counted", "G-29: each step of the escalation is tried once", limits, "next_step",
           "tried = {step.action for step in v.record.escalation_steps}", "tried = set()",
           test_escalation.test_a_stalled_turn_is_steered_aborted_restarted_and_then_given_up),
    Mutant("turns-unlimited", "G-29: more rounds than allowed end the turn", limits, "beyond_its_limits",
           "made >= v.max_turns", "False", test_escalation.test_more_rounds_than_allowed_end_the_turn),
    Mutant("target-goes-first", "G-23: an interrupted turn waits for the steer that interrupted it", task, "judge_the_turn",
           "if v.held_by:", "if False:", task_table),
    Mutant("amnesia", "G-32: a new machine gets the conversation first", lieutenant, "restore_the_conversation",
           "return RestoreSession(v.lt.vm_id, v.mirror_size)", "return None",
           test_sessions.test_a_dead_vm_is_replaced_and_the_conversation_goes_on_with_its_memory),
    Mutant("only-copy-lost", "G-32: a dead VM with the only copy stays", slot_policies, "replace_the_dead",
           "if s.loss:", "if False:", slot_table),
    Mutant("fail-ignored", "G-32: a vanished VM is not replaced against session.onLost", slot_policies, "keep_the_conversation",
           "or not s.loss", "or s.loss", a_loss_that_waits),
    Mutant("lost-task-goes-on", "G-20: a task of a lost conversation is another attempt or none", task, "follow_the_session",
           'v.record.session in ("", v.session)', "True", a_lost_conversation),
    Mutant("ends-mixed", "G-32: two ends that differ are a person's to judge", session, "choose_between_two_ends",
           "v.divergence is None", "True", test_conversation_lost.test_two_ends_that_differ_wait_for_a_person_and_the_mirrors_goes_on),
    Mutant("mirror-overwritten", "G-32: the end that is not chosen keeps its name", session, "chosen",
           "kept.but(file=name)", "kept", test_conversation_lost.test_two_ends_that_differ_wait_for_a_person_and_the_mirrors_goes_on),
    Mutant("begun-under-a-task", "G-30: no new conversation under a task", session, "begin_as_declared",
           "or v.lt.active_task", "", lieutenant_table),
    Mutant("more-was-seen", "G-32: what was seen and not saved is known durably", session, "loss_of",
           'return "" if seen <= mirrored else', 'return "" if True else', more_than_was_saved),
    Mutant("installed-under-pi", "G-24: a keeper is replaced only while pi is down", reach, "install_what_is_missing",
           "and not running and not v.lt.guest.keeper_alive", "", lieutenant_table),
    Mutant("replaced-unverified", "G-14: a machine that works is given up only for one that is verified", changeover, "change_places",
           "or to_be_done(v.lt, v.next) is not None", "",
           test_replacement.test_a_profile_whose_verification_fails_costs_neither_the_machine_nor_its_workspace),
    Mutant("gone-before-an-answer", "G-14: the old machine is kept until pi answers on the new one", replacement, "clear_away_the_other",
           '("Confirmed", "Returned", "Dropping")', '("Taken", "Confirmed", "Returned", "Dropping")',
           test_replacement.test_a_machine_on_which_pi_does_not_start_gives_its_place_back),
    Mutant("workspace-left-behind", "G-14: the workspace is carried over", BootActs, "carry_files",
           "if archive.content:", "if False:",
           test_replacement.test_the_old_machine_works_on_until_the_other_one_is_verified_and_everything_moves_when_it_is_settled),
    Mutant("noisy-status", "G-45, G-46: a transition time moves only with its status", conditions, "merge_conditions",
           'since = str(old["lastTransitionTime"])', "since = timestamp(now)",
           test_quiet.test_with_probes_a_healthy_agent_is_asked_and_nothing_is_written),
    *TREE_MUTANTS, *SPENDING_MUTANTS, *GOVERNED_MUTANTS, *CONVERSATION_MUTANTS, *REMEMBERING_MUTANTS, *CREDENTIAL_MUTANTS,
    *CLUSTER_MUTANTS,
)  # fmt: skip
