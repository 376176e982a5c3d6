"""Usage and audit as people see them, without a controller."""

from __future__ import annotations

import time
from decimal import Decimal
from pathlib import Path

import pytest

from reconciler.config import load
from reconciler.core.keys import Key
from reconciler.core.spending.ledger import DAY, Entry, Page, day_of, dump, name_of
from reconciler.core.spending.ledger import Run as MachineRun
from reconciler.core.spending.prices import Tokens
from reconciler.engine.ports import PutMeta
from reconciler.errors import UsageError
from tests.cli.conftest import Run
from tests.cli.test_cli_conversation import change

LT = """apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: api}
spec: {role: Test, profileRef: {name: lightweight}, env: [{name: TOKEN, value: hush}]}
"""
API, WEB = Key("Lieutenant", "default", "api"), Key("Lieutenant", "default", "web")


@pytest.fixture
def books(run: Run, tmp_path: Path) -> None:
    """Two agents, one of a tree, that spent something today, and one of them long ago."""
    assert run("apply", "-f", "-", stdin=LT).code == 0
    today = day_of(time.time())
    at, used = today * DAY, Tokens(100, 20, 5, 0)
    one = Page(today, "", (Entry(at, "acme/large", "one", Decimal("0.5"), used, Tokens(), 2),), (MachineRun(at, at + 5400),))
    two = Page(today, "default/prod", (Entry(at, "acme/new", "two", Decimal(0), used, used, 1),))
    old = Page(today - 35, "", (Entry(at - 35 * DAY, "acme/large", "old", Decimal(9), used, Tokens(), 1),))
    rows = [(API, one), (WEB, two), (API, old)]
    change(tmp_path / "state", lambda obj: obj, *(PutMeta(name_of(agent, page.day), dump(page)) for agent, page in rows))


@pytest.mark.usefixtures("books")
def test_usage_is_told_apart_as_asked_for(run: Run) -> None:
    head, *rows = run("get", "usage").out.splitlines()
    assert head.split() == ["NAME", "COST", "TOKENS", "ANSWERS", "MACHINE-HOURS", "COST-UNKNOWN"]
    assert [row.split() for row in rows] == [["api", "0.500000", "125", "2", "1.50", "0"], ["web", "0.000000", "125", "1", "0.00", "125"]]

    def names(*words: str) -> list[str]:
        return [row.split()[0] for row in run("get", "usage", *words).out.splitlines()[1:]]

    assert names("--by", "task") == ["one", "two"]
    assert names("--by", "model") == ["acme/large", "acme/new"]
    assert names("--by", "tree") == ["-", "prod"]
    assert len(names("--by", "day")) == 1
    assert len(names("--by", "day", "--days", "40")) == 2
    doc = run("get", "usage", "--days", "40", "-o", "json").json["items"][0]
    assert doc["kind"] == "Usage"
    assert doc["status"]["cost"] == "9.500000"
    assert run("get", "usage", "-n", "elsewhere").out == ""


@pytest.mark.usefixtures("books")
def test_a_price_of_the_file_of_settings_counts(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[prices."acme/new"]\ninput = "10000"\noutput = "0"\n')
    rows = run("get", "usage", "--config", str(file)).out.splitlines()[1:]
    assert rows[0].split()[:2] == ["web", "1.000000"]


def test_what_makes_no_sense_is_refused(run: Run) -> None:
    assert "use one of lieutenant, tree, task, model, day" in run("get", "usage", "--by", "colour").err
    assert run("get", "lt", "--by", "day").code == 64
    assert "books are only looked at" in run("delete", "usage/api").err


@pytest.mark.usefixtures("books")
def test_get_audit_shows_who_changed_what_and_no_values_of_variables(run: Run) -> None:
    assert run("suspend", "lt", "api").code == 0
    assert run("delete", "lt", "api").code == 0
    shown = run("get", "audit", "-o", "wide").out
    head, *rows = shown.splitlines()
    assert head.split() == ["NAME", "VERB", "OBJECT", "DOOR", "WHO", "CHANGES", "AGE"]
    assert [row.split()[1:4] for row in rows] == [
        ["created", "lieutenant/api", "command"],
        ["changed", "lieutenant/api", "command"],
        ["deleted", "lieutenant/api", "command"],
    ]
    assert "mode=Suspended" in rows[1]
    assert "hush" not in shown


@pytest.mark.usefixtures("books")
def test_get_audit_shows_what_a_command_was_refused(run: Run) -> None:
    guarded = LT.replace("metadata: {name: api}", "metadata: {name: api, annotations: {fleet.vers.sh/deletion-protection: enabled}}")
    assert run("apply", "-f", "-", stdin=guarded).code == 0
    assert run("delete", "lt", "api").code == 4
    *_, last = run("get", "audit", "-o", "wide").out.splitlines()
    assert last.split()[1:4] == ["refused", "lieutenant/api", "command"]
    assert "delete=Lieutenant/default/api is protected from deletion" in last


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[budget]\nmax-cost = 5.0\n", "max-cost"),
        ('[budget]\nmax-coast = "5"\n', "max-coast"),
        ("budget = 3\n", "budget must be a table"),
        ('[prices."a/b"]\ninput = 0.5\noutput = "1"\n', "money is written as a string"),
        ('[prices."a/b"]\ninput = "-1"\noutput = "1"\n', "0 or more"),
        ('[prices."a/b"]\ninput = "1"\n', "a price has input and output"),
        ("[audit]\nkeep = 0\n", "keep must be a whole number"),
        ('[credentials]\nfrom-git = "yes"\n', "from-git must be true or false"),
        ("[credentials]\nfrom-file = true\n", "from-git must be true or false"),
        ("credentials = true\n", "from-git must be true or false"),
    ],
)
def test_a_file_of_settings_that_is_wrong_says_where(text: str, told: str, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(UsageError) as refused:
        load({}, {}, file)
    assert told in str(refused.value)
    assert str(file) in str(refused.value)


def test_the_budget_of_the_fleet_is_read(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[budget]\nmax-cost = "200.00"\ncalendar = "Month"\non-exceeded = "DenyNew"\n[audit]\nkeep = 5\n')
    governing = load({}, {}, file).governing
    assert governing is not None
    assert governing.budget is not None
    assert (governing.budget.max_cost, str(governing.budget.calendar), governing.audit_keep) == ("200.00", "Month", 5)


@pytest.mark.parametrize(("text", "allowed"), [("", False), ("[credentials]\n", False), ("[credentials]\nfrom-git = true\n", True)])
def test_only_the_configuration_lets_git_have_programs_run_here(text: str, allowed: bool, tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f"[audit]\nkeep = 5\n{text}")
    governing = load({}, {}, file).governing
    assert governing is not None
    assert governing.from_git is allowed
