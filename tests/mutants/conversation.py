"""Mutants of long conversations and of models in order of preference."""

from __future__ import annotations

from reconciler.core.lieutenant import fallback, readback, reminder
from reconciler.core.task import reminder as in_turn
from tests.engine import test_configuration, test_fallbacks, test_reminders
from tests.mutants.mutant import Mutant

CONVERSATION_MUTANTS: tuple[Mutant, ...] = (
    Mutant("otherwise-shortened", "G-27: how pi shortens its conversation is read back", readback, "unapplied",
           "for read in asked", "for read in asked[:3]",
           test_configuration.test_a_pi_that_shortens_its_conversation_otherwise_takes_no_work),
    Mutant("never-said-again", "G-27: the directive survives a compaction", in_turn, "say_it_again",
           "if v.reminder.compaction != v.untold:", "if False:",
           test_reminders.test_it_is_said_once_in_the_middle_of_the_turn_and_not_with_the_next_prompt),
    Mutant("taken-as-told", "G-27: that it was told again is seen and not assumed", reminder, "compacted_of",
           "told, answers = mark_of(last.entry_id), False, 0", "told, answers = mark_of(last.entry_id), True, 0",
           test_reminders.test_without_a_turn_it_is_said_with_the_next_prompt_and_wakes_nobody),
    Mutant("first-for-ever", "another model answers while the provider of the first says no", fallback, "choose",
           "if usable is not None:", "if False:",
           test_fallbacks.test_another_model_answers_while_the_provider_of_the_first_says_no),
    Mutant("never-back", "the first model is back when it answers", fallback, "choose",
           "place for place in fit if", "place for place in reversed(fit) if",
           test_fallbacks.test_the_first_is_tried_again_by_one_prompt_and_is_back_when_it_answers),
)  # fmt: skip
