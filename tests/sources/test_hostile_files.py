"""Whatever stands in a file is told with its place and harms nothing beside it (G-42, G-65)."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from reconciler.sources.documents.reader import MAX_DOCUMENTS, read
from reconciler.sources.files import scan as scanning
from reconciler.sources.files.scan import scan

GOOD = "apiVersion: fleet.vers.sh/v1alpha1\nkind: Lieutenant\nmetadata: {name: %s}\nspec: {role: r, profileRef: {name: full}}\n"
ONE = (GOOD % "one").encode()
MANY_LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(20)
)
RANDOM = random.Random(0)
MARKS = b"{}[]:-?&*!|>'\"%@` \n\tabc"

BAD: dict[str, tuple[bytes, str, str]] = {
    "Latin-1": (ONE + b"# \xe9\n", ":5:3: -", "UTF-8"),
    "UTF-16": (ONE.decode().encode("utf-16"), ":1:1: -", "UTF-8"),
    "random bytes": (RANDOM.randbytes(1 << 20), ": -", "UTF-8"),
    "marks of YAML at random": (RANDOM.randbytes(1 << 20).translate((MARKS * 12)[:256]), ": -", "not YAML"),
    "NULs": (b"\0" * 1000, ":1:1: -", "remove the character"),
    "a list that never ends": (b"[" * (1 << 20), ":1:66: ", "nested deeper than 64"),
    "a map that never ends": (b"{a: " * (1 << 18), "", "nested deeper than 64"),
    "keys of keys": (b"? " * (1 << 19), ":1:3: -", "a key must be a string"),
    "anchors that explode": (MANY_LAUGHS.encode(), ":5:20: e[4]", "fewer aliases"),
    "an anchor in itself": (b"a: &a [*a]\n", ":1:8: a[0]", "no anchor before it"),
    "a tag that runs code": (ONE.replace(b"role: r", b"role: !!python/object/apply:os.system [id]"), ":4:", "unknown here"),
    "a tag of somebody else": (ONE.replace(b"role: r", b"role: !vault abc"), ":4:14: spec.role", "tag !vault"),
    "binary": (ONE.replace(b"role: r", b"role: !!binary aGk="), ":4:14: spec.role", "unknown here"),
    "a tab": (ONE.replace(b"spec: {", b"spec:\n\trole: {"), ":5:1: -", "YAML wants spaces"),
    "a scalar": (b"hello\n", ":1:1: -", "must be a map"),
    "larger than may be": (b"# " + b"x" * (8 << 20), ":1:1: -", "split it"),
}


@pytest.mark.guarantee("G-42")
@pytest.mark.guarantee("G-65")
@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_told_and_the_one_beside_it_counts(tmp_path: Path, case: str) -> None:
    data, place, word = BAD[case]
    (tmp_path / "bad.yaml").write_bytes(data)
    (tmp_path / "good.yaml").write_text(GOOD % "good")
    found = scan([tmp_path])
    assert [one.key.name for one in found.objects] == ["good"]
    said = [str(one) for one in found.findings]
    assert said
    assert all(one.startswith(str(tmp_path / "bad.yaml")) for one in said)
    assert any(place in one and word in one for one in said), said
    assert all(len(one.message) < 500 for one in found.findings)
    assert found.broken == {tmp_path / "bad.yaml"}


@pytest.mark.parametrize("form", ["\ufeff{}", "{}"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_byte_order_mark_and_line_ends_change_neither_meaning_nor_place(tmp_path: Path, form: str, end: str) -> None:
    text = form.replace("{}", (GOOD % "one" + "---\n" + GOOD % "Two").replace("\n", end))
    (tmp_path / "a.yaml").write_bytes(text.encode())
    found = scan([tmp_path])
    assert [one.key.name for one in found.objects] == ["one"]
    assert [(one.line, one.column, one.field) for one in found.findings] == [(8, 12, "metadata.name")]


@pytest.mark.guarantee("G-42")
def test_everything_that_is_wrong_is_told_in_one_run_in_the_order_of_the_text(tmp_path: Path) -> None:
    texts = [
        GOOD % "same",
        GOOD % "same",
        "kind: Lieutennant\n",
        (GOOD % "Bad_name").replace("role", "rolle"),
        ":::\n\t- x\n",
        GOOD % "good",
    ]
    (tmp_path / "a.yaml").write_text("---\n".join(texts))
    (tmp_path / "b.yaml").write_text("kind: x\n")
    found = scan([tmp_path])
    assert [one.key.name for one in found.objects] == ["good"]
    assert list(found.findings) == sorted(found.findings)
    fields = [(Path(one.file).name, one.line, one.field) for one in found.findings]
    assert fields == [
        ("a.yaml", 3, "metadata.name"),
        ("a.yaml", 8, "metadata.name"),
        ("a.yaml", 11, "apiVersion"),
        ("a.yaml", 11, "kind"),
        ("a.yaml", 15, "metadata.name"),
        ("a.yaml", 16, "spec.role"),
        ("a.yaml", 16, "spec.rolle"),
        ("a.yaml", 19, ""),
        ("b.yaml", 1, "apiVersion"),
        ("b.yaml", 1, "kind"),
    ]
    assert "did you mean Lieutenant?" in str(found.findings[3])
    assert "did you mean role?" in str(found.findings[6])
    assert scan([tmp_path]).findings == found.findings


def test_as_many_documents_as_a_fleet_has_fit_into_one_file() -> None:
    text = "---\n".join("kind: x\n" for _ in range(MAX_DOCUMENTS + 5))
    found = read(text, "a.yaml")
    assert len(found) == MAX_DOCUMENTS + 1
    assert "more than 10,000 documents" in found[-1].findings[0].message
    assert found[-1].line == 2 * MAX_DOCUMENTS


def test_a_long_list_has_its_places(tmp_path: Path) -> None:
    items = [
        {"apiVersion": "fleet.vers.sh/v1alpha1", "kind": "Task", "metadata": {"name": f"t{n}"}, "spec": {"prompt": "x"}} for n in range(3)
    ]
    docs = read(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}, indent=1), "a.json")
    lines = [one.findings[0].line for one in docs]
    assert len(set(lines)) == 3
    assert all(one.findings[0].field == "spec.lieutenantRef" for one in docs)


def test_a_file_that_goes_away_while_it_is_read_is_no_deletion_and_no_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.yaml").write_text(GOOD % name)
    read_one = scanning._read

    def take_the_other_away(path: Path) -> bytes:
        (tmp_path / "b.yaml").unlink(missing_ok=True)
        return read_one(path)

    monkeypatch.setattr(scanning, "_read", take_the_other_away)
    found = scan([tmp_path])
    assert [one.key.name for one in found.objects] == ["a"]

    names = iter(range(1000))

    def write_another_one(path: Path) -> bytes:
        (tmp_path / f"c{next(names)}.yaml").write_text("")
        return read_one(path)

    monkeypatch.setattr(scanning, "_read", write_another_one)
    assert not scan([tmp_path]).clean, "what does not hold still is never taken for whole"
