"""Mutants of what agents remember: kept, merged, brought, told, and found before a conversation is shortened."""

from __future__ import annotations

from pathlib import Path

from reconciler.core.governance import memory as books
from reconciler.core.lieutenant import aftergovernance, readback
from reconciler.core.lieutenant import memory as policies
from reconciler.core.profile import rendering
from reconciler.core.spending import ledger
from reconciler.engine import planning
from reconciler.engine.act.memory import MemoryActs
from tests.core import test_lieutenant
from tests.core import test_memory as test_books
from tests.engine import test_facts, test_memory, test_plan_memory, test_reminders
from tests.mutants.mutant import Mutant


def the_newest(_: Path) -> None:
    test_books.test_only_the_newest_stay_and_what_is_dropped_is_not_brought_back()


def two_writers(_: Path) -> None:
    assert books.merged(books.Book.of(test_books.ENTRIES[:3]), test_books.ENTRIES[2:], 9.0).book == books.Book.of(test_books.ENTRIES)


def edited(_: Path) -> None:
    book = books.edited(books.Book.of(test_books.ENTRIES), ["by hand"], [test_books.ENTRIES[0].id], "ada", 10.0).book
    assert [entry.text for entry in book.entries] == [*(f"fact {number}" for number in range(1, 6)), "by hand"]


def the_table(_: Path) -> None:
    for name in test_lieutenant.SCENARIOS:
        test_lieutenant.test_scenario(name)


WRITTEN = test_memory.test_what_an_agent_wrote_is_in_the_store_and_told_on_its_next_machine
BY_A_PERSON = test_memory.test_what_a_person_changes_reaches_the_machines_and_is_not_brought_back
FOUND = test_facts.test_facts_that_were_found_before_a_compaction_are_kept_beyond_the_machine

REMEMBERING_MUTANTS: tuple[Mutant, ...] = (
    Mutant("entry-lost", "two who write lose nothing", books, "merged",
           "(*book.entries, *news.values())", "(*news.values(),)", two_writers),
    Mutant("oldest-kept", "the newest entries stay where there is no room", books, "_bounded",
           "sorted(entries, reverse=True)[:MOST]", "sorted(entries)[:MOST]", the_newest),
    Mutant("removed-returns", "what a person removed is not brought back by a machine", books, "merged",
           "(*book.entries, *book.gone)}", "book.entries}", BY_A_PERSON),
    Mutant("edit-forgets", "an edit keeps what was written meanwhile", books, "edited",
           "if entry.id not in remove]", "if not remove]", edited),
    Mutant("newer-overwritten", "what is written while a memory is brought stays", MemoryActs, "bring",
           "found.number,", "1 << 40,", test_memory.test_what_an_agent_writes_while_its_memory_is_brought_to_it_stays),
    Mutant("asleep-unsaved", "G-32: what was written is saved before its machine sleeps", policies, "save_what_was_written",
           "if there is None or", "if True or", test_memory.test_what_is_not_saved_yet_is_saved_before_the_machine_is_suspended),
    Mutant("unbrought", "G-27: what is remembered is on the machine before pi starts", policies, "bring_the_memory",
           "is None or v.memory is None", "is None or True", WRITTEN),
    Mutant("anybodys", "what another agent left on a machine is not taken", books, "belongs",
           'owner in ("", own.tag, *inherits)', "True", test_memory.test_a_machine_that_another_agent_had_brings_nothing_of_that_one),
    Mutant("secret-remembered", "no known secret is in the store", MemoryActs, "written",
           "self.t.redact(entry.text)", "entry.text", test_memory.test_known_secrets_are_not_remembered),
    Mutant("memory-unread", "G-27: pi has the memory that it was given", readback, "unapplied",
           "in asked if (found", "in asked if read is not memory and (found", the_table),
    Mutant("facts-not-asked", "extractFacts reaches pi", rendering, "settings_of",
           "facts if declared.extract_facts else None", "None", FOUND),
    Mutant("facts-for-nothing", "G-29: what it costs to find facts counts", ledger, "entries_of",
           'message.role in ("assistant", PAID)', 'message.role == "assistant"',
           test_facts.test_what_it_costs_to_find_facts_counts_against_the_budget),
    Mutant("memory-unforeseen", "G-41: a plan tells what will be brought to a new machine", aftergovernance, "remembered_there",
           "if lt.memory is None:", "if True:", test_plan_memory.test_what_will_be_brought_and_told_is_in_the_plan_and_then_done),
    Mutant("change-unforeseen", "G-41: and to one that is in use", planning, "told_of",
           "if told is None:", "if True:", test_plan_memory.test_what_will_be_brought_and_told_is_in_the_plan_and_then_done),
    Mutant("memory-unmentioned", "G-27: an agent is told after a compaction that it has a memory", rendering, "reminder",
           "if spec.memory.scopes", "if False", test_reminders.test_an_agent_with_a_memory_is_told_that_it_has_one),
)  # fmt: skip
