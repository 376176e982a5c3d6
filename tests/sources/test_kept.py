"""What was read before a start is not read again, and is never believed when it may be wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.sources.documents import kept as keeping
from reconciler.sources.documents import plainyaml
from reconciler.sources.documents.kept import Kept
from reconciler.sources.documents.located import Mark
from reconciler.sources.files.scan import Scan, Scanner
from reconciler.sources.files.source import FileSource
from tests.sources.fleetdir import fleet_dir, profile

HEAD = "apiVersion: fleet.vers.sh/v1alpha1\nkind: Lieutenant\nmetadata: {name: %s}\nspec:\n  profileRef: {name: full}\n  role: %s\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "fleet").mkdir()
    (tmp_path / "fleet" / "a.yaml").write_text("# first\n---\n" + HEAD % ("a", "x") + "---\n" + HEAD % ("b", "w"))
    (tmp_path / "fleet" / "bad.yaml").write_text(HEAD % ("c", "[1]"))
    (tmp_path / "fleet" / "odd.yaml").write_text(HEAD % ("d", "&one z") + "  env: [{name: A, value: *one}]\n")
    return tmp_path


def life(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Scan, list[str]]:
    """A start: what it finds, and the texts that were parsed for it."""
    parsed: list[str] = []
    load = plainyaml.load
    with monkeypatch.context() as patched:
        patched.setattr(plainyaml, "load", lambda text: parsed.append(text) or load(text))  # type: ignore[func-returns-value]
        return Scanner("default", Kept(folder / "documents.json")).scan([folder / "fleet"]), parsed


def test_a_start_parses_what_is_new_and_finds_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, parsed = life(folder, monkeypatch)
    assert len(parsed) == 4
    assert (folder / "documents.json").stat().st_mode & 0o777 == 0o600
    second, parsed = life(folder, monkeypatch)
    assert sorted(text.partition("{name: ")[2][0] for text in parsed) == ["c", "d"]  # those that say more than good documents
    assert [(one.key, one.spec, one.origin, one.line) for one in second.objects] == [
        (one.key, one.spec, one.origin, one.line) for one in first.objects
    ]
    assert (second.findings, second.flawed, second.inputs_hash) == (first.findings, first.flawed, first.inputs_hash)
    assert second.objects[0].at(("spec", "role")) == first.objects[0].at(("spec", "role")) == Mark(8, 3)
    (folder / "fleet" / "a.yaml").write_text(HEAD % ("a", "other") + "---\n" + HEAD % ("b", "w"))
    third, parsed = life(folder, monkeypatch)
    assert len(parsed) == 3
    assert third.objects[0].spec["role"] == "other"


@pytest.mark.parametrize("damage", ["gone", "cut", "garbage", "another program", "too large", "no maps", "a directory"])
def test_what_may_be_wrong_is_not_believed(folder: Path, monkeypatch: pytest.MonkeyPatch, damage: str) -> None:
    first, _ = life(folder, monkeypatch)
    file = folder / "documents.json"
    match damage:
        case "gone":
            file.unlink()
        case "cut":
            file.write_bytes(b"\n".join(line[:-3] for line in file.read_bytes().split(b"\n")))
        case "garbage":
            file.write_bytes(b"\xff\x00" * 1000)
        case "another program":
            monkeypatch.setattr(keeping, "_judges", lambda: b"other")
        case "too large":
            monkeypatch.setattr(keeping, "MOST_BYTES", 10)
        case "no maps":
            head, *lines = file.read_bytes().split(b"\n")
            file.write_bytes(b"\n".join([head, *(line.partition(b" ")[0] + b" [1, 1, []]" for line in lines)]))
        case _:
            file.unlink()
            file.mkdir()
    again, parsed = life(folder, monkeypatch)
    assert len(parsed) == 4
    assert [one.spec for one in again.objects] == [one.spec for one in first.objects]
    assert again.findings == first.findings


def test_another_rule_is_another_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    judges = keeping._judges.__wrapped__
    assert judges() == judges()
    before = judges()
    (tmp_path / "api").mkdir()
    (tmp_path / "api" / "task.py").write_text("x = 1")
    monkeypatch.setattr(keeping, "_ROOT", tmp_path)
    assert judges() != before
    one = judges()
    (tmp_path / "api" / "task.py").write_text("x = 2")
    assert judges() != one


def test_few_new_documents_are_no_reason_to_write_all(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "fleet" / "many.yaml").write_text("---\n".join(HEAD % (f"m{n}", "x") for n in range(40)))
    life(folder, monkeypatch)
    written = (folder / "documents.json").stat().st_ino
    (folder / "fleet" / "one.yaml").write_text(HEAD % ("one", "x"))
    _, parsed = life(folder, monkeypatch)
    assert any("name: one" in text for text in parsed)
    assert (folder / "documents.json").stat().st_ino == written


async def test_the_look_at_everything_need_not_wait_once_declarations_are_in_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with fleet_dir(tmp_path) as one:
        one.write("a.yaml", profile("a"))
        in_force: list[set[str]] = []
        monkeypatch.setattr(one.engine, "caught_up", lambda: in_force.append(one.known()))
        source = FileSource([one.root], "default", one.sync, one.engine)
        await source.apply(await source.scan())
        assert in_force == [{"a"}]
        source._looks_again()
