"""An edit keeps a file's line ends, byte order mark, indentation, comments and last newline."""

from __future__ import annotations

import difflib
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.cli import textform
from reconciler.cli.edit import Change, edit
from reconciler.core.keys import Json, Key
from reconciler.engine.ports import StoredObject
from reconciler.sources.files.scan import Scanner
from tests.cli.conftest import Run
from tests.cli.test_cli_conversation import LT, change
from tests.cli.test_cli_edit import stored

KEY = Key("Lieutenant", "default", "api")
BOM = "\ufeff"

CHANGES: dict[str, list[Change]] = {
    "suspend": [(("mode",), "Suspended")],
    "resume": [(("mode",), "Running")],
    "take away": [(("mode",), None)],
    "deep": [(("limits", "taskTimeoutSeconds"), 77)],
    "deeper": [(("queue", "maxPending"), 7)],
    "several": [(("mode",), "Suspended"), (("suspend", "onBusy"), "Abort"), (("role",), "no")],
    "with blanks": [(("role",), "Keep: the # API")],
    "many lines": [(("role",), "one\ntwo\n")],
    "a list": [(("env",), [{"name": "B", "value": "y"}])],
}


@st.composite
def files(draw: st.DrawFn) -> str:
    """One of the many ways in which people write a lieutenant."""
    step = " " * draw(st.integers(1, 6))
    flow, comment = draw(st.booleans()), draw(st.sampled_from(["", "  # why", " # ünïcode → 日本"]))
    lines = ["apiVersion: fleet.vers.sh/v1alpha1", f"kind: Lieutenant{comment}", "metadata:", f"{step}name: api"]
    role = draw(st.sampled_from(["x", "'it is'", '"quoted: yes"']))
    fields = [f"role: {role}{comment}"]
    if draw(st.booleans()):
        fields.append(f"mode: Running{comment}")
    if draw(st.booleans()):
        fields += ["model:", f"{step}provider: scripted", f"{step}id: one{comment}"]
    if draw(st.booleans()):
        fields += ["limits:", f"{step}taskTimeoutSeconds:   5 # short"]
    dash = draw(st.sampled_from(["", step]))
    if draw(st.booleans()):
        fields += ["env:", f"{dash}- name: A{comment}", f"{dash}  value: x"]
    if draw(st.booleans()):
        fields += ["# between", ""]
    fields.append("profileRef: {name: full}" if draw(st.booleans()) else f"profileRef:\n{step}name: full")
    if flow:
        lines.append(f"spec: {{role: x, profileRef: {{name: full}}}}{comment}")
    else:
        lines += ["spec:", *(f"{step}{one}" if one else "" for field in fields for one in field.split("\n"))]
    mine = "\n".join(lines)
    other = mine.replace("name: api", "name: other")
    before, after = draw(st.booleans()), draw(st.booleans())
    text = "\n---\n".join([*([f"# top\n{other}"] if before else []), mine, *([other] if after else [])])
    text += draw(st.sampled_from(["", "\n", "\n\n", "\n# end", "\n# end\n"]))
    text = text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))
    return (BOM if draw(st.booleans()) else "") + text


@settings(max_examples=25, deadline=None)
@given(files(), st.sampled_from(sorted(CHANGES)))
def test_a_file_keeps_its_form(text: str, what: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.yaml"
        path.write_bytes(text.encode())
        edit(stored(path), CHANGES[what])
        after = path.read_bytes().decode()
    assert after.startswith(BOM) == text.startswith(BOM)
    assert after.count("\n") - after.count("\r\n") == 0 or "\r\n" not in text, "no line end of another form"
    assert "\r\n" in text or "\r" not in after
    assert after.endswith("\n") == text.endswith("\n")
    assert declared(after, "other") == declared(text, "other")
    diff = [line for line in difflib.ndiff(text.splitlines(True), after.splitlines(True)) if line[0] in "+-"]
    assert len(diff) <= 2 * len(CHANGES[what]) + 2, f"other lines were touched: {diff}"


def declared(text: str, name: str) -> Json | None:
    plain, _ = textform.read(text)
    return next((one.spec for one in Scanner("default").text(plain, "f").objects if one.key.name == name), None)


@given(st.text(alphabet="ab\r\n", max_size=30), st.booleans())
def test_a_text_unchanged_is_written_as_it_was(text: str, bom: bool) -> None:
    whole = (BOM if bom else "") + text
    plain, form = textform.read(whole)
    assert form.write(plain) == whole


def test_lines_of_a_file_with_both_ends_keep_theirs() -> None:
    plain, form = textform.read("a\r\nb\nc\r\nd")
    assert plain == "a\nb\nc\nd"
    assert form.write("a\nB\nc\nd") == "a\r\nB\nc\r\nd"
    assert form.write("a\nb\nnew\nc\nd") == "a\r\nb\nnew\r\nc\r\nd"


@pytest.mark.parametrize("indent", [None, 2, 4, "\t"])
@pytest.mark.parametrize("last", ["", "\n"])
@pytest.mark.parametrize("what", ["suspend", "take away", "deep", "many lines"])
def test_a_json_file_keeps_its_form(tmp_path: Path, indent: int | str | None, last: str, what: str) -> None:
    spec: Json = {"role": "x", "mode": "Running", "profileRef": {"name": "full"}, "limits": {"taskTimeoutSeconds": 5}}
    document = {"apiVersion": "fleet.vers.sh/v1alpha1", "kind": "Lieutenant", "metadata": {"name": "api"}, "spec": spec}
    text = json.dumps(document, indent=indent) + last
    path = tmp_path / "a.json"
    path.write_text(text)
    edit(stored(path), CHANGES[what])
    after = path.read_text()
    assert json.dumps(json.loads(after), indent=indent) + last == after


def test_every_command_that_edits_keeps_the_form(run: Run, tmp_path: Path) -> None:
    """set, suspend, resume and cancel go through one procedure."""
    path = tmp_path / "lt.yaml"
    path.write_bytes((BOM + LT.replace("\n", "\r\n")).encode())
    assert run("apply", "-f", str(path)).code == 0

    def in_file(obj: StoredObject) -> StoredObject:
        return replace(obj, source="file", origin=f"{path}:1")

    change(tmp_path / "state", in_file)
    for words in (("suspend", "lt", "api"), ("resume", "lt", "api"), ("set", "lt", "api", "role=Rest"), ("cancel", "old")):
        shown = run(*words)
        assert shown.code == 0, shown
        data = path.read_bytes()
        assert data.startswith(BOM.encode())
        assert data.count(b"\n") == data.count(b"\r\n")
    assert b"role: Rest" in data
    assert b"cancel: true" in data
