"""Mutants of values that programs and files give, and of what was refused and stands in the audit."""

from __future__ import annotations

from pathlib import Path

from reconciler.core import credentials as pure
from reconciler.core.lieutenant import provider
from reconciler.engine.act.governance import GovernActs
from reconciler.engine.credentials import Credentials
from reconciler.engine.observe import hostvalues
from reconciler.serve.refused import RefusedCommands
from reconciler.store import auditing
from tests.engine import test_audit, test_credentials, test_missing_keys
from tests.mutants.mutant import Mutant
from tests.serve import test_refused


def from_git(path: Path) -> None:
    test_credentials.test_what_git_declares_runs_no_program_unless_the_configuration_says_so("lieutenant", path)


def with_an_empty_key(path: Path) -> None:
    test_missing_keys.test_a_key_that_is_empty_is_told_before_any_delivery_and_holds_the_tasks("apiKeyFrom", "", path)


def with_its_own_login(path: Path) -> None:
    test_missing_keys.test_what_may_have_a_key_is_not_refused(test_missing_keys.LOGGED_IN, path)


CREDENTIAL_MUTANTS: tuple[Mutant, ...] = (
    Mutant("renewed-late", "a value is renewed before it expires", pure, "again_after",
           "life - min(SPARE, life / 3)", "life + 60.0",
           test_credentials.test_a_value_is_renewed_before_it_expires_and_no_turn_is_cut),
    Mutant("dropped-on-failure", "the last value is in force until it expires", Credentials, "_once",
           "at.why, at.failures = str(error), at.failures + 1", "at.why, at.failures, at.drawn = str(error), 1, None",
           test_credentials.test_a_value_that_can_not_be_renewed_holds_until_it_expires_and_is_never_told),
    Mutant("used-for-ever", "a value that has expired is not used", pure, "answer_of",
           "Drawn(value, end) if end > now", "Drawn(value) if end > now",
           test_credentials.test_a_value_that_can_not_be_renewed_holds_until_it_expires_and_is_never_told),
    Mutant("renewal-unredacted", "G-60: what was given before stays redacted", Credentials, "known",
           "for value in at.past}", "for value in list(at.past)[-1:]}",
           test_credentials.test_a_value_that_can_not_be_renewed_holds_until_it_expires_and_is_never_told),
    Mutant("asked-for-nobody", "no program runs for what nothing uses", Credentials, "uses",
           "at.users.discard(key)", "pass", test_credentials.test_nobody_is_asked_for_what_nothing_uses_any_more),
    Mutant("commit-runs", "what git declares runs no program", hostvalues, "taking_from_git",
           "item.obj.source_commit or", "False or", from_git),
    Mutant("plan-runs", "G-41: a plan runs no program", Credentials, "look",
           "if not self._running:", "if False:", test_credentials.test_a_plan_runs_no_program_and_takes_the_last_value_to_hold),
    Mutant("refusal-unaudited", "G-28: what an agent was refused is in the audit", GovernActs, "act",
           "*said, *audit)", "*said)",
           test_audit.test_what_an_agent_was_refused_is_there_with_rule_and_level_in_the_same_transaction),
    Mutant("audit-flooded", "an agent pushes nothing of people's out of the audit", auditing, "forget_audit",
           "(AUDIT.c.door == AGENT, AUDIT.c.door != AGENT)", "(AUDIT.c.seq > 0,)",
           test_audit.test_an_agent_that_tries_and_tries_pushes_nothing_of_people_out),
    Mutant("refusals-unfolded", "the same refusal again is counted", RefusedCommands, "note",
           "if times & (times - 1):", "if False:", test_refused.test_a_deletion_that_protection_refuses_is_there_with_who_asked),
    Mutant("empty-key", "G-27: a key that is empty is told before any delivery", provider, "missing_key",
           "if not rendered.empty:", "if True:", with_an_empty_key),
    Mutant("login-refused", "pi's own login is not refused", provider, "missing_key",
           "posixpath.basename(file.path) == LOGIN", "False", with_its_own_login),
)  # fmt: skip
