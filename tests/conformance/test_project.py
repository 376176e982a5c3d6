"""The project around the code: what is tracked, what is packaged, and that the pages say nothing that is not so."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from reconciler.api.catalogue import REASONS
from reconciler.cli.program import program
from reconciler.config import NAMES, VARIABLES
from tests.conformance import commands, guarantees, operations
from tests.promises import KNOWN, RELEASE

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").glob("*.md")])
COMMANDS = set(program().commands)

LARGEST = 1 << 20
"""Bytes a tracked file may have: nothing here is that large, and a binary that slipped in is."""

ELSEWHERE = re.compile(
    rf"{re.escape(str(ROOT))}/|/Users/[a-z]|/home/(?!reconciler\b)[a-z]|/work/[a-z]|/tmp/[a-z]+/[a-z]|/root/(?:main|\.pyenv|\.npm|\.venv)"
)
"""Directories of somebody's machine. `/root/workspace` and its like are in guests, `/home/reconciler` in our image."""

SECRET = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----\n[A-Za-z0-9+/=]{32}"
    r"|\bsk-(?:ant-|proj-)?[A-Za-z0-9_-]{24,}|\bgh[pousr]_[A-Za-z0-9]{30,}|\bAKIA[0-9A-Z]{16}\b"
    r"|\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}[0-9a-f]{64}\b"
)
"""Private keys, keys of model providers and hosts, and keys of the platform's own form."""


@cache
def tracked() -> tuple[Path, ...]:
    """What git has, whoever owns the checkout."""
    command = ["git", "-c", f"safe.directory={ROOT}", "ls-files", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode()
    return tuple(ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file())


def texts() -> Iterator[tuple[str, str]]:
    """Every tracked text file but this one, by its path."""
    for path in tracked():
        if path.resolve() == Path(__file__).resolve() or path.stat().st_size > LARGEST:
            continue
        try:
            yield str(path.relative_to(ROOT)), path.read_text("utf-8")
        except UnicodeDecodeError:
            continue


# --- what is tracked ----------------------------------------------------------------------------------------------------------


def test_nothing_large_and_no_virtual_environment_is_tracked() -> None:
    wrong = {str(path.relative_to(ROOT)) for path in tracked() if path.stat().st_size > LARGEST or "site-packages" in path.parts}
    assert not sorted(wrong)[:10], f"{len(wrong)} files; take them out with `git rm --cached` and name them in .gitignore"


def test_no_path_of_anybodys_machine() -> None:
    found = [f"{name}: {match.group()}" for name, text in texts() for match in ELSEWHERE.finditer(text)]
    assert found == []


@pytest.mark.guarantee("G-60")
def test_no_secret_is_tracked() -> None:
    found = [f"{name}: {match.group()[:12]}…" for name, text in texts() for match in SECRET.finditer(text)]
    assert found == []


# --- what is packaged ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> frozenset[str]:
    """Names in a wheel built from here, with the build backend of the environment."""
    target = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(target)]
    built = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr[-2000:]
    (made,) = target.glob("*.whl")
    with zipfile.ZipFile(made) as archive:
        return frozenset(archive.namelist())


def test_the_package_carries_everything_that_is_no_python(wheel: frozenset[str]) -> None:
    """Profiles, the keeper's modules, the migrations and the CRDs are files of the package."""
    profiles = {f"reconciler/stock/profiles/{path.name}" for path in (ROOT / "specs" / "profiles").glob("*.yaml")}
    package = ROOT / "reconciler"
    wanted = {str(path.relative_to(ROOT)) for path in package.rglob("*") if path.suffix in (".mjs", ".typed", ".mako", ".ini")}
    migrations = {str(path.relative_to(ROOT)) for path in (package / "store" / "migrations").rglob("*.py")}
    assert len(profiles) >= 4
    assert any(name.endswith(".mjs") for name in wanted)
    assert migrations
    made = {f"reconciler/made/{path.relative_to(ROOT / 'crds')}" for path in (ROOT / "crds").rglob("*") if path.is_file()}
    assert made
    assert (profiles | wanted | migrations | made) - wheel == set()


def test_the_image_is_built_from_everything_the_package_is_made_of() -> None:
    """What the build of a wheel reads in its first stage, and what is let through to it."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wheel = declared["tool"]["hatch"]["build"]["targets"]["wheel"]
    read = {"pyproject.toml", declared["project"]["readme"], *wheel["packages"], *wheel["force-include"]}
    first = (ROOT / "Containerfile").read_text("utf-8").split("\nFROM ")[1]
    copied = {name for line in first.splitlines() if line.startswith("COPY ") for name in line.split()[1:-1]}
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    assert read - copied == set()
    assert copied - let_through == set()


def test_the_package_carries_the_whole_starter_folder(wheel: frozenset[str]) -> None:
    folder = ROOT / "examples" / "starter"
    files = {f"reconciler/starter/{path.relative_to(folder)}" for path in tracked() if path.is_relative_to(folder)}
    assert len(files) > 5
    assert files - wheel == set()


def test_the_package_carries_nothing_else(wheel: frozenset[str]) -> None:
    tops = {name.split("/")[0] for name in wheel}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"reconciler"}
    assert not [name for name in wheel if "__pycache__" in name or name.endswith((".tgz", ".db"))]


# --- what the pages say -------------------------------------------------------------------------------------------------------


def targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))


def test_every_make_command_that_is_told_of_exists() -> None:
    told = {
        word
        for name in ("README.md", ".ci/run")
        for word in re.findall(r"(?:^ *|`)make ([a-z-]+)", (ROOT / name).read_text("utf-8"), re.MULTILINE)
    }
    assert {"demo", "test"} <= told
    assert told - targets() == set()


def test_continuous_integration_begins_with_what_the_readme_says() -> None:
    commands = [line.strip() for line in (ROOT / ".ci" / "run").read_text("utf-8").splitlines()]
    assert "make test" in commands
    first = next(line for line in commands if line.startswith(("make ", ".venv/bin/")))
    assert first == "make test"
    assert commands[-1].startswith("exec .venv/bin/pytest")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_that_a_page_tells_of_exists(page: Path) -> None:
    told = set(re.findall(r"^ {4}reconciler ([a-z]+)|`reconciler ([a-z]+)", page.read_text("utf-8"), re.MULTILINE))
    assert {one or other for one, other in told} - COMMANDS == set()


def test_every_remedy_can_be_followed() -> None:
    """A remedy that names a command of no release is none."""
    told = {(reason.value, word) for reason in REASONS.values() for word in re.findall(r"`reconciler ([a-z]+)", reason.remedy)}
    assert {pair for pair in told if pair[1] not in COMMANDS} == set()


def test_the_table_of_reasons_is_what_the_catalogue_says() -> None:
    page = operations.PAGE.read_text("utf-8")
    assert page == operations.written(page), "run `python -m tests.conformance.operations`"


def test_the_page_of_commands_is_what_they_say_themselves() -> None:
    page = commands.PAGE.read_text("utf-8")
    assert page == commands.written(page), "run `python -m tests.conformance.commands`"


def test_every_setting_of_the_environment_is_documented() -> None:
    page = operations.PAGE.read_text("utf-8")
    assert {variable for variable in VARIABLES.values() if f"`{variable}`" not in page} == set()
    assert set(VARIABLES) <= NAMES


def test_the_service_spares_agents_on_this_host() -> None:
    """Stopping the service ends the controller alone (G-01 for agents on this host)."""
    unit = operations.PAGE.read_text("utf-8").split("```ini")[1].split("```")[0]
    assert "KillMode=process" in unit.splitlines()


# --- what is promised -----------------------------------------------------------------------------------------------------------


def test_every_promise_of_this_release_has_a_test() -> None:
    assert sorted(RELEASE - guarantees.marked().keys()) == []


def test_every_mark_names_a_promise() -> None:
    assert sorted(guarantees.marked().keys() - KNOWN) == []


def test_the_lock_fits_the_declared_dependencies() -> None:
    """Everything that is declared is locked, and the lock names versions only: no addresses, no files."""
    lines = [line for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines() if line and not line.startswith("#")]
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line)] == []
    locked = {re.sub(r"[-_.]+", "-", line.split("==")[0]).lower() for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    wanted = {re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~ ]", one)[0]).lower() for one in declared}
    assert wanted - locked == set()
