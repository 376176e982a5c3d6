"""What a command imports before it does anything, and that the list of commands is what the commands are."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from importlib import import_module

import pytest
import typer
import typer.main

from reconciler.cli import options
from reconciler.cli.catalog import CLUSTERS, GROUPS, Entry
from reconciler.cli.program import COMPLETE, LateCommand, program
from tests.cli.conftest import Run
from tests.program import Program

ENTRIES = [entry for group in GROUPS.values() for entry in group]

LIEUTENANT = """
apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: api}
spec: {role: You keep the API, profileRef: {name: pi-base}}
"""

HEAVY = frozenset(
    {
        *("kopf", "asyncssh", "psycopg", "aiohttp", "httpx", "uvicorn", "starlette", "prometheus_client", "watchfiles"),
        *("sqlalchemy", "alembic", "rich"),
        *("reconciler.vers.simulator", "reconciler.vers.client", "reconciler.agent", "reconciler.app", "reconciler.engine.loop"),
    }
)
"""Packages that no command needs which only reads the store, files or itself."""

LISTING = """
import json, sys
from reconciler.cli.main import execute
code = execute(sys.argv[1:])
sys.stderr.write("\\n" + json.dumps([code, sorted(sys.modules)]))
"""


@pytest.fixture(scope="module")
def program_at(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """With a lieutenant in its store, and the file that declares it."""
    made = Program(tmp_path_factory.mktemp("program"), {})
    (made.folder / "lt.yaml").write_text(LIEUTENANT)
    made("apply", "-f", "lt.yaml")
    return made


def imported(at: Program, *words: str, **more: str) -> list[str]:
    """The modules that a command line has imported when it ends, well."""
    command = [sys.executable, "-c", LISTING, *words]
    done = subprocess.run(command, env={**at.env, **more}, cwd=at.folder, capture_output=True, text=True, timeout=60, check=True)
    code, modules = json.loads(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    return [str(name) for name in modules]


def within(modules: list[str], packages: frozenset[str]) -> list[str]:
    return [name for name in modules if any(name == package or name.startswith(f"{package}.") for package in packages)]


@pytest.mark.parametrize(
    ("words", "pydantic", "ours", "every"),
    [
        (("--help",), False, 10, 180),
        (("version",), False, 24, 300),
        (("get", "lt", "-o", "wide"), False, 43, 345),
        (("get", "lt", "-o", "json"), False, 42, 345),
        (("events",), False, 51, 365),
        (("get", "--help"), False, 42, 345),
        (("completion", "bash"), True, 14, 330),
        (("validate", "lt.yaml"), True, 50, 425),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_command_imports_what_it_needs(program_at: Program, words: tuple[str, ...], pydantic: bool, ours: int, every: int) -> None:
    """`ours`, `every`: how many modules of this package, and of all, it may import; a little more than it does."""
    modules = imported(program_at, *words)
    assert within(modules, HEAVY) == []
    assert ("pydantic" in modules) is pydantic
    assert len(within(modules, frozenset({"reconciler"}))) <= ours
    assert len(modules) <= every


def test_validate_imports_the_models_of_the_kinds_it_reads(program_at: Program) -> None:
    models = {name for name in imported(program_at, "validate", "lt.yaml") if name.startswith("reconciler.api.")}
    assert "reconciler.api.lieutenant" in models
    assert not models & {"reconciler.api.vmtree", "reconciler.api.task", "reconciler.api.bootprofile", "reconciler.api.schema"}


def test_a_store_that_was_never_made_needs_no_more(program_at: Program) -> None:
    modules = imported(program_at, "--state", str(program_at.folder / "none"), "get", "lt")
    assert within(modules, HEAVY) == []


# --- the list -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: str(entry.name))
def test_a_listed_command_is_a_function_with_that_summary(entry: Entry) -> None:
    module, _, name = entry.target.partition(":")
    function = getattr(import_module(module), name)
    assert inspect.isfunction(function)
    assert next(iter(inspect.signature(function).parameters)) == "config"
    first, _, rest = (inspect.getdoc(function) or "").partition("\n")
    assert entry.summary == first
    assert not rest or rest.startswith("\n"), "the first line is a sentence of its own"
    assert len(entry.summary) <= 65, "fits beside the name on a terminal of 80 columns"
    assert entry.summary.endswith(".")


def test_names_are_listed_once_and_in_the_groups_of_the_contract() -> None:
    names = [entry.name for entry in ENTRIES]
    assert len(set(names)) == len(names)
    assert list(GROUPS) == ["Run", "Read", "Act", "Make"]
    assert list(program().commands) == names
    assert set(names) > CLUSTERS


def test_help_lists_every_command_in_its_group_then_the_options_of_every_command(run: Run) -> None:
    shown = run("--help")
    lines = shown.out.splitlines()
    assert shown.code == 0
    at = -1
    for group, entries in GROUPS.items():
        at = lines.index(f"{group}:", at + 1)
        for entry in entries:
            at = next(n for n, line in enumerate(lines) if n > at and line.split() == [entry.name, *entry.summary.split()])
    options_at = next(n for n, line in enumerate(lines) if line.startswith("Options of every command"))
    assert at < options_at
    assert any(line.strip().startswith("--state DIR") for line in lines[options_at:])
    assert max(map(len, lines)) <= 80


def test_help_of_a_command_has_its_own_options_first_and_names_the_others_in_one_place(run: Run) -> None:
    shown = run("get", "--help")
    assert shown.code == 0
    own, _, everywhere = shown.out.partition("Options of every command")
    assert "-l, --selector" in own
    assert "--all-namespaces" in own
    assert "--state" not in own
    for name in options.GLOBALS:
        assert f"--{name.replace('_', '-')}" in everywhere


def test_without_a_command_help_is_printed_and_no_empty_error(run: Run) -> None:
    shown = run()
    assert shown.code == 64
    assert "Usage: reconciler" in shown.out + shown.err
    assert "error:" not in shown.err


def test_a_name_mistyped_is_answered_with_the_likely_one_and_imports_nothing(program_at: Program) -> None:
    shown = program_at.full("validat")
    assert shown.returncode == 64
    assert "Did you mean 'validate'?" in shown.stderr


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: str(entry.name))
def test_a_value_arrives_as_typer_would_convert_it(entry: Entry) -> None:
    """Defaults and texts are not converted; this compares with what Typer's own parameters make of the same words."""
    module, _, name = entry.target.partition(":")
    app = typer.Typer(add_completion=False)
    app.command(entry.name)(options.with_globals(entry.name, getattr(import_module(module), name), CLUSTERS))
    plain, ours = typer.main.get_command(app), LateCommand(entry, "")
    for words in ([], ["a"], ["a", "b", "--state", "x", "-v"]):
        made = [command.make_context(entry.name, list(words), resilient_parsing=True).params for command in (plain, ours)]
        assert made[0] == made[1]


# --- completion -----------------------------------------------------------------------------------------------------------


def asked(at: Program, shell: str, line: str) -> tuple[list[str], list[str]]:
    """What a shell is answered for a line that is being typed, and what was imported for it."""
    words = line.split(" ")
    variables = {
        "bash": {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)},
        "zsh": {"_TYPER_COMPLETE_ARGS": line},
        "fish": {"_TYPER_COMPLETE_ARGS": line, "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
    }[shell]
    code = (
        "import sys\nfrom reconciler.cli.main import execute\ntry:\n    execute([])\nfinally:\n    sys.stderr.write(' '.join(sys.modules))"
    )
    env = {**at.env, COMPLETE: f"complete_{shell}", **variables}
    done = subprocess.run([sys.executable, "-c", code], env=env, cwd=at.folder, capture_output=True, text=True, timeout=60, check=True)
    return done.stdout.split("\n"), done.stderr.split()


@pytest.mark.parametrize(("shell", "form"), [("bash", "{0}"), ("zsh", '"{0}":"{1}"'), ("fish", "{0}\t{1}")])
def test_names_of_commands_are_completed_without_importing_commands(program_at: Program, shell: str, form: str) -> None:
    answer, modules = asked(program_at, shell, "reconciler re")
    known = {entry.name: entry for entry in ENTRIES}
    for name in ("resume", "retry", "resolve"):
        assert any(form.format(name, known[name].summary) in line for line in answer), answer
    assert not any(name in line for line in answer for name in ("validate", "apply"))
    commands = {entry.target.partition(":")[0] for entry in ENTRIES}
    assert not commands & set(modules)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("reconciler get li", ["lieutenant"]),
        ("reconciler get lt ", ["api"]),
        ("reconciler describe lieutenant/", ["lieutenant/api"]),
        ("reconciler -n other get lt ", []),
        ("reconciler get -n other lt ", []),
        ("reconciler get bp li", ["lightweight"]),
        ("reconciler send a", ["api"]),
        ("reconciler suspend lt a", ["api"]),
        ("reconciler set lt ", ["api"]),
        ("reconciler get nothing a", []),
        ("reconciler --state /nowhere get lt ", []),
    ],
)
def test_kinds_and_names_of_objects_are_completed(program_at: Program, line: str, expected: list[str]) -> None:
    answer, modules = asked(program_at, "bash", line)
    assert [word for word in answer if word] == expected
    assert within(modules, HEAVY) == []


def test_options_of_a_command_are_completed(program_at: Program) -> None:
    answer, modules = asked(program_at, "bash", "reconciler get --sel")
    assert answer == ["--selector", ""]
    assert within(modules, HEAVY) == []


@pytest.mark.parametrize(
    ("shell", "sign"), [("bash", "complete -o default -F"), ("zsh", "compdef"), ("fish", "complete --command reconciler")]
)
def test_the_script_of_a_shell_asks_this_program(run: Run, shell: str, sign: str) -> None:
    shown = run("completion", shell)
    assert shown.code == 0
    assert sign in shown.out
    assert f"{COMPLETE}=complete_{shell}" in shown.out


def test_bash_takes_the_script(program_at: Program) -> None:
    script = program_at("completion", "bash")
    checked = subprocess.run(["bash", "--norc", "-c", f"{script}\ncomplete -p reconciler"], capture_output=True, text=True, check=True)
    assert "_reconciler_completion" in checked.stdout


def test_a_shell_that_is_not_known_is_refused_naming_those_that_are(run: Run) -> None:
    shown = run("completion", "csh")
    assert shown.code == 64
    assert all(name in shown.err for name in ("bash", "zsh", "fish"))


KEPT = """
import gc
import os
import sys
from reconciler.cli.main import main

class Kept:
    def __init__(self):
        self.me = self

    def __del__(self, write=os.write):
        write(2, b"taken apart")

gc.disable()
Kept()
main()
"""


def test_the_end_of_the_program_does_not_wait_for_its_memory_to_be_taken_apart() -> None:
    """A fleet in memory would cost a stop most of its five seconds on a busy machine."""
    done = subprocess.run([sys.executable, "-c", KEPT, "explain", "Nothing"], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 64, done.stderr
    assert "taken apart" not in done.stderr
