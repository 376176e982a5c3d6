"""A declaration changed in its file: one field, the rest byte for byte."""

from __future__ import annotations

import difflib
import json
from pathlib import Path

import pytest

from reconciler.cli import inplace
from reconciler.cli.edit import Change, edit
from reconciler.core.keys import Key
from reconciler.engine.ports import StoredObject
from reconciler.errors import InvalidSpec, NotFound, Refused
from reconciler.sources.files.scan import scan

HEAD = "apiVersion: fleet.vers.sh/v1alpha1\nkind: Lieutenant\n"
KEY = Key("Lieutenant", "default", "api")


def stored(path: Path, key: Key = KEY) -> StoredObject:
    return StoredObject(key=key, uid="u", generation=1, version=1, created_at=0.0, spec={}, source="file", origin=f"{path}:1")


def changed(tmp_path: Path, text: str, *changes: Change, name: str = "a.yaml") -> tuple[str, list[str]]:
    """The new text, and the lines that differ (`-old`, `+new`)."""
    path = tmp_path / name
    path.write_bytes(text.encode())
    path.chmod(0o640)
    edit(stored(path), changes)
    assert path.stat().st_mode & 0o777 == 0o640
    after = path.read_bytes().decode()
    diff = difflib.ndiff(text.splitlines(), after.splitlines())
    return after, [line[0] + line[2:] for line in diff if line[0] in "+-"]


SUSPEND: Change = (("mode",), "Suspended")


def test_a_scalar_is_replaced_where_it_stands(tmp_path: Path) -> None:
    text = HEAD + "metadata: {name: api}\nspec:\n  role:   'x'   # who\n  mode: Running      # what\n\n  profileRef: {name: full}\n# end\n"
    _, diff = changed(tmp_path, text, SUSPEND)
    assert diff == ["-  mode: Running      # what", "+  mode: Suspended    # what"]


@pytest.mark.parametrize(
    ("before", "value", "after"),
    [
        ("role: x          # who", "another", "role: another    # who"),
        ("role: x            # who", "twelve-chars", "role: twelve-chars # who"),  # the comment began there
        ("role: x # who", "twelve-chars", "role: twelve-chars # who"),
        ("role: x     # who", "a-much-longer-one", "role: a-much-longer-one  # who"),
        ("role: a-much-longer-one  # who", "x", "role: x                  # who"),
        ("role: 'a # b'    # who # why", "x", "role: x          # who # why"),
        ("role: |          # who\n    one\n    two", "x", "role: x          # who"),
        ("role: it's#1     # who", "x", "role: x          # who"),
        ("role: x#1", "z", "role: z"),
    ],
)
def test_the_comment_behind_a_value_stays_in_its_column(tmp_path: Path, before: str, value: str, after: str) -> None:
    text = HEAD + f"metadata: {{name: api}}  # name\nspec:\n  {before}\n  # of mode\n  mode: Running    # m\n  profileRef: {{name: full}}\n"
    assert changed(tmp_path, text, (("role",), value))[0] == text.replace(before, after)


def test_a_comment_behind_braces_stays_in_its_column(tmp_path: Path) -> None:
    text = HEAD + "metadata: {name: api}\nspec:\n  role: 'x'\n  limits: {taskTimeoutSeconds: 1800}   # t\n  profileRef: {name: full}\n"
    after, _ = changed(tmp_path, text, (("limits", "taskTimeoutSeconds"), 60))
    assert after == text.replace("1800}   # t", "60}     # t")


def test_a_missing_field_gets_a_line_of_its_own(tmp_path: Path) -> None:
    text = "# top\n---\n" + HEAD + "metadata:\n  name: api\nspec:\n    # deep\n    role: x\n    profileRef: {name: full}\n"
    _, diff = changed(tmp_path, text, SUSPEND)
    assert diff == ["+    mode: Suspended"]


def test_several_fields_and_nested_ones(tmp_path: Path) -> None:
    text = HEAD + "metadata: {name: api}\nspec:\n  role: x\n  limits:\n    taskTimeoutSeconds: 5 # short\n  profileRef: {name: full}\n"
    after, _ = changed(tmp_path, text, (("limits", "taskTimeoutSeconds"), 9), (("suspend", "onBusy"), "Abort"), (("role",), "no"))
    assert "taskTimeoutSeconds: 9 # short" in after
    assert scan([tmp_path]).objects[0].spec == {
        "role": "no",
        "limits": {"taskTimeoutSeconds": 9},
        "suspend": {"onBusy": "Abort"},
        "profileRef": {"name": "full"},
    }
    assert 'role: "no"' in after, "what another reader takes for a boolean is quoted"


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_other_documents_stay_byte_for_byte(tmp_path: Path, end: str) -> None:
    other = (
        HEAD.replace("\n", end) + f"metadata: {{name: other}}{end}spec:   {{role: 'x',   profileRef: {{name: full}}}} # odd{end}---{end}"
    )
    mine = (
        HEAD.replace("\n", end)
        + f"metadata: {{name: api}}{end}spec:{end}  role: x{end}  mode: Running{end}  profileRef: {{name: full}}{end}"
    )
    after, _ = changed(tmp_path, other + mine, SUSPEND)
    assert after == (other + mine).replace("mode: Running", "mode: Suspended")


def test_a_flow_map_is_written_again_with_its_comments(tmp_path: Path) -> None:
    text = "# first\n" + HEAD + "metadata: {name: api}  # name\nspec: {role: x, profileRef: {name: full}}  # all of it\n"
    after, _ = changed(tmp_path, text, SUSPEND)
    assert "# first" in after
    assert "# name" in after
    assert "# all of it" in after


def test_a_field_is_taken_away(tmp_path: Path) -> None:
    text = HEAD + "metadata: {name: api}\nspec:\n  role: x\n  mode: Suspended\n  profileRef: {name: full} # p\n"
    after, diff = changed(tmp_path, text, (("mode",), None))
    assert diff == ["-  mode: Suspended"]
    assert "# p" in after


def test_json_and_lists(tmp_path: Path) -> None:
    item = {
        "apiVersion": "fleet.vers.sh/v1alpha1",
        "kind": "Lieutenant",
        "metadata": {"name": "api"},
        "spec": {"role": "x", "profileRef": {"name": "full"}},
    }
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": [item]})
    after, _ = changed(tmp_path, text, SUSPEND, name="a.json")
    assert json.loads(after)["items"][0]["spec"]["mode"] == "Suspended"


def test_nothing_is_written_that_is_not_valid(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(HEAD + "metadata: {name: api}\nspec:\n  role: x\n  profileRef: {name: full}\n")
    before = path.read_bytes()
    with pytest.raises(InvalidSpec, match="mode"):
        edit(stored(path), [(("mode",), "Sleepy")])
    with pytest.raises(NotFound, match="no longer declares"):
        edit(stored(path, Key("Lieutenant", "default", "other")), [SUSPEND])
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.yaml"], "no leftovers"


LONG = "metadata: {name: api}\nspec:\n  role: |  # long\n    one\n\n    two\n  # of mode\n  mode: Running\n  profileRef: {name: full}\n"


def test_a_text_of_many_lines_is_replaced_or_taken_away_whole_and_alone(tmp_path: Path) -> None:
    after, _ = changed(tmp_path, HEAD + LONG, (("role",), "short"))
    assert after == HEAD + LONG.replace("|  # long\n    one\n\n    two", "short  # long")
    items = "  env:  # all\n  - name: A\n    value: |\n      x\n\n"
    text = HEAD + LONG.replace("  # of mode\n", items + "  # of mode\n")
    after, _ = changed(tmp_path, text, (("env",), [{"name": "B", "value": "y"}]))
    assert after == text.replace(items, '  env: [{name: B, value: "y"}]  # all\n\n')
    after, _ = changed(tmp_path, text, (("env",), None))
    assert after == text.replace(items, "\n")


def test_a_file_that_changed_meanwhile_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = HEAD + "metadata: {name: api}\nspec:\n  role: x\n  profileRef: {name: full}\n"
    file = tmp_path / "api.yaml"
    file.write_text(text)
    theirs = text + "# theirs\n"
    ours = inplace.change

    def while_somebody_saves(*args: object) -> str | None:
        file.write_text(theirs)
        return ours(*args)  # type: ignore[arg-type]

    monkeypatch.setattr(inplace, "change", while_somebody_saves)
    with pytest.raises(Refused, match="changed meanwhile"):
        edit(stored(file), [(("mode",), "Suspended")])
    assert file.read_text() == theirs
    assert [path.name for path in tmp_path.iterdir() if "api.yaml" in path.name] == ["api.yaml"]


@pytest.mark.parametrize(
    ("items", "left"),
    [
        (
            "env:  # all\n  - name: A\n    value: |\n      x\n\n  # of B\n  - {name: B, value: two}  # b\n",
            "env:  # all\n\n  # of B\n  - {name: B, value: two}  # b\n",
        ),
        ("env: [{name: A, value: x}, {name: B, value: two}]  # all\n", "env: [{name: B, value: two}]  # all\n"),
        ("env:\n    - name: A\n      value: x\n    - name: B\n      value: two\n", "env:\n    - name: B\n      value: two\n"),
    ],
)
def test_an_item_of_a_list_is_taken_out_and_nothing_else(tmp_path: Path, items: str, left: str) -> None:
    text = HEAD + "metadata: {name: api}\nspec:\n  role: x\n  " + items + "  # of mode\n  mode: Running\n  profileRef: {name: full}\n"
    after, _ = changed(tmp_path, text, (("env", "0"), None))
    assert after == text.replace(items, left)


def test_the_last_item_of_a_list_is_taken_out_too(tmp_path: Path) -> None:
    text = (
        HEAD
        + "metadata: {name: api}\nspec:\n  role: x\n  profileRef: {name: full}\n  env:\n  - {name: A, value: x}\n  - {name: B, value: two}"
    )
    after, _ = changed(tmp_path, text, (("env", "1"), None))
    assert after == text.removesuffix("\n  - {name: B, value: two}"), "no line end where there was none"
    document = {"apiVersion": "fleet.vers.sh/v1alpha1", "kind": "Lieutenant", "metadata": {"name": "api"}}
    env = [{"name": "A", "value": "x"}, {"name": "B", "value": "two"}]
    text = json.dumps({**document, "spec": {"role": "x", "profileRef": {"name": "full"}, "env": env}})
    after, _ = changed(tmp_path, text, (("env", "1"), None), name="a.json")
    assert json.loads(after)["spec"]["env"] == env[:1]
