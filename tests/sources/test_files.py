"""Scanning directories: what is declared, what is broken, what is left alone."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from reconciler.core.keys import Key
from reconciler.sources.files.scan import Scanner, scan

UUID = "5f0c2c0e-6a0e-4d7b-9a53-0f2a2f0a1c11"


def lieutenant(name: str, role: str = "some role", extra: str = "") -> str:
    head = f"apiVersion: fleet.vers.sh/v1alpha1\nkind: Lieutenant\nmetadata: {{name: {name}}}\n"
    return f"{head}spec:\n  role: {role}\n  profileRef: {{name: full}}\n{extra}"


def names(root: Path) -> list[str]:
    return [one.key.name for one in scan([root]).objects]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "fleet").mkdir()
    return tmp_path / "fleet"


def test_what_a_declared_object_carries(root: Path) -> None:
    text = lieutenant("a").replace("{name: a}", "{name: a, namespace: web, labels: {team: x}, annotations: {note: hello}}")
    (root / "a.yaml").write_text(f"# first line\n{text}")
    look = scan([root])
    [one] = look.objects
    assert (one.key, one.labels, one.annotations) == (Key("Lieutenant", "web", "a"), {"team": "x"}, {"note": "hello"})
    assert one.spec == {"role": "some role", "profileRef": {"name": "full"}}
    assert (one.origin, one.source_id) == (f"{root}/a.yaml:2", "")
    assert one.at(("spec", "role")).line == 6
    assert look.clean
    assert look.findings == ()


def test_the_namespace_of_the_command_is_for_documents_without_one(root: Path) -> None:
    (root / "a.yaml").write_text(lieutenant("a"))
    assert scan([root], "web").objects[0].key == Key("Lieutenant", "web", "a")


def test_only_manifests_are_read(root: Path) -> None:
    for name in ("a.yaml", "sub/b.yml", "sub/deep/c.json"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = lieutenant(path.stem)
        if path.suffix == ".json":
            task = {"apiVersion": "fleet.vers.sh/v1alpha1", "kind": "Task", "metadata": {"name": "c"}}
            text = json.dumps({**task, "spec": {"lieutenantRef": {"name": "a"}, "prompt": "x"}})
        path.write_text(text)
    for name in (".hidden.yaml", "a.yaml~", ".a.yaml.swp", "#a.yaml#", "4913", "notes.txt", ".git/x.yaml", "..2026/d.yaml"):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text("not: [valid")
    look = scan([root])
    assert look.findings == ()
    assert [str(one.key) for one in look.objects] == ["Lieutenant/default/a", "Lieutenant/default/b", "Task/default/c"]


@pytest.mark.guarantee("G-42")
def test_one_bad_document_spoils_nothing_but_itself(root: Path) -> None:
    (root / "a.yaml").write_text(f"{lieutenant('good')}---\n{lieutenant('bad', role='yes')}---\n: [\n")
    (root / "b.yaml").write_text(lieutenant("other"))
    look = scan([root])
    assert [one.key.name for one in look.objects] == ["good", "other"]
    assert look.broken == {root / "a.yaml"}
    assert set(look.flawed) == {Key("Lieutenant", "default", "bad")}
    assert [(one.line, one.field) for one in look.findings if one.field] == [(12, "spec.role")]
    assert not look.clean


@pytest.mark.guarantee("G-42")
def test_an_object_declared_twice_is_refused_in_both_places(root: Path) -> None:
    (root / "a.yaml").write_text(lieutenant("a") + "---\n" + lieutenant("b"))
    (root / "z.yaml").write_text("\n" + lieutenant("a", "another role"))
    look = scan([root])
    assert [one.key.name for one in look.objects] == ["b"]
    assert [str(one).split(": ")[0] for one in look.findings] == [f"{root}/a.yaml:3:12", f"{root}/z.yaml:4:12"]
    assert f"{root}/z.yaml:2" in look.findings[0].message
    assert set(look.flawed) == {Key("Lieutenant", "default", "a")}
    assert look.broken == {root / "a.yaml", root / "z.yaml"}


def test_a_path_named_twice_is_read_once(root: Path) -> None:
    (root / "a.yaml").write_text(lieutenant("a"))
    look = scan([root, root / "a.yaml", root])
    assert look.clean
    assert len(look.objects) == 1


def test_what_cannot_be_read_is_told_and_not_clean(root: Path) -> None:
    (root / "big.yaml").write_text("# " + "x" * (8 << 20))
    (root / "latin.yaml").write_bytes(b"a: \xe9\n")
    os.mkfifo(root / "pipe.yaml")
    (root / "gone.yaml").symlink_to(root / "nothing")
    (root / "loop.yaml").symlink_to(root / "loop.yaml")
    look = scan([root, root / "missing"])
    told = {Path(one.file).name: one.message for one in look.findings}
    assert set(told) == {"big.yaml", "latin.yaml", "pipe.yaml", "gone.yaml", "loop.yaml", "missing"}
    assert all(";" in message for message in told.values())
    assert not look.clean
    assert look.objects == ()


def test_links_may_not_lead_out(root: Path) -> None:
    outside = root.parent / "secret.yaml"
    outside.write_text(lieutenant("outside"))
    (root / "in.yaml").symlink_to(outside)
    (root.parent / "elsewhere").mkdir()
    (root.parent / "elsewhere" / "x.yaml").write_text(lieutenant("x"))
    (root / "dir").symlink_to(root.parent / "elsewhere")
    look = scan([root])
    assert look.objects == ()
    assert [Path(one.file).name for one in look.findings] == ["in.yaml"]


def test_a_mounted_configmap_is_read_once_through_its_links(root: Path) -> None:
    (root / "..2026_01").mkdir()
    (root / "..2026_01" / "a.yaml").write_text(lieutenant("a"))
    (root / "..data").symlink_to("..2026_01")
    (root / "a.yaml").symlink_to("..data/a.yaml")
    look = scan([root])
    assert look.clean
    assert [one.origin for one in look.objects] == [f"{root}/a.yaml:1"]
    linked = root.parent / "current"
    linked.symlink_to(root)
    assert [one.origin for one in scan([linked]).objects] == [f"{linked}/a.yaml:1"]


def test_directories_that_link_to_each_other_end(root: Path) -> None:
    (root / "a").mkdir()
    (root / "a" / "up").symlink_to(root)
    (root / "a" / "a.yaml").write_text(lieutenant("a"))
    assert names(root) == ["a"]


# --- stacks -------------------------------------------------------------------------------------------------------------


def test_a_marked_directory_is_a_stack_and_the_nearest_marker_counts(root: Path) -> None:
    inner = root / "team"
    inner.mkdir()
    other = UUID.replace("5", "6")
    (root / ".reconciler.yaml").write_text(f"uuid: {UUID}\nprune: true\nmaxDelete: 3\nonDrift: Revert\nallowEmpty: true\n")
    (inner / ".reconciler.yaml").write_text(f"uuid: {other}\n")
    (root / "a.yaml").write_text(lieutenant("a"))
    (inner / "b.yaml").write_text(lieutenant("b"))
    look = scan([root])
    assert look.clean
    assert {one.key.name: one.source_id for one in look.objects} == {"a": UUID, "b": other}
    first, second = look.stacks
    assert (first.root, first.policy.prune, first.policy.max_delete, first.policy.on_drift, first.policy.allow_empty) == (
        str(root),
        True,
        3,
        "Revert",
        True,
    )
    assert (second.root, second.policy.prune, second.policy.max_delete) == (str(inner), False, None)


@pytest.mark.guarantee("G-43")
@pytest.mark.parametrize(
    ("text", "line", "word"),
    [
        ("prune: true\n", 1, "uuid: required"),
        (f"uuid: {UUID}\nprune: yes please\n", 2, "boolean"),
        (f"uuid: {UUID}\nprunes: true\n", 2, "did you mean prune?"),
        (f"uuid: {UUID}\nmaxDelete: -1\n", 2, "greater"),
        ("uuid: [\n", 2, "not YAML"),
        ("", 1, "one document"),
        ("5\n", 1, "must be a map"),
    ],
)
def test_a_broken_marker_marks_nothing(root: Path, text: str, line: int, word: str) -> None:
    (root / ".reconciler.yaml").write_text(text)
    (root / "a.yaml").write_text(lieutenant("a"))
    look = scan([root])
    assert [one.source_id for one in look.objects] == [""]
    assert look.stacks == ()
    assert not look.clean
    [told] = [str(one) for one in look.findings]
    assert word in told
    assert f".reconciler.yaml:{line}:" in told


# --- again and again ----------------------------------------------------------------------------------------------------


def test_a_second_scan_sees_what_changed_and_only_that(root: Path) -> None:
    scanner = Scanner()
    (root / "a.yaml").write_text(lieutenant("a"))
    (root / "b.yaml").write_text(lieutenant("b"))
    first = scanner.scan([root])
    assert scanner.scan([root]) == first
    (root / "b.yaml").write_text(lieutenant("b", "another role"))
    second = scanner.scan([root])
    assert [one.spec["role"] for one in second.objects] == ["some role", "another role"]
    assert second.inputs_hash != first.inputs_hash
    (root / "b.yaml").unlink()
    third = scanner.scan([root])
    assert [one.key.name for one in third.objects] == ["a"]
    assert third.clean


def test_a_renamed_file_is_another_input(root: Path) -> None:
    (root / "a.yaml").write_text(lieutenant("a"))
    before = scan([root]).inputs_hash
    (root / "a.yaml").rename(root / "b.yaml")
    assert scan([root]).inputs_hash != before


def test_a_directory_that_does_not_hold_still_is_not_clean(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "a.yaml").write_text(lieutenant("a"))
    scanner, count = Scanner(), iter(range(100))
    opened = os.open

    def restless(path: str, flags: int) -> int:
        if Path(path).name == "a.yaml":
            Path(path).write_text(lieutenant("a", f"role {'x' * next(count)}"))
        return opened(path, flags)

    with monkeypatch.context() as patched:
        patched.setattr(os, "open", restless)
        assert not scanner.scan([root]).clean
    assert scanner.scan([root]).clean


def test_text_from_elsewhere() -> None:
    look = Scanner("web").text(lieutenant("a"), "-")
    assert [(str(one.key), one.place) for one in look.objects] == [("Lieutenant/web/a", "-:1")]
    assert str(Scanner().text("kind: Tusk\napiVersion: fleet.vers.sh/v1alpha1\n", "-").findings[0]).startswith("-:1:1: kind: 'Tusk'")
