"""Declaring, looking and changing without a controller: exit codes, output forms, files edited in place."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from reconciler.agent import toolchain
from tests.cli.conftest import Run

MANIFESTS = Path(__file__).parents[1] / "manifests"
QUICKSTART = str(MANIFESTS / "valid" / "quickstart.yaml")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("version",), 0),
        (("bogus",), 64),
        (("get",), 64),
        (("get", "nope"), 64),
        (("get", "lt", "-o", "foo"), 64),
        (("get", "lt"), 0),
        (("get", "lt/none"), 1),
        (("validate", QUICKSTART), 0),
        (("validate", str(MANIFESTS / "invalid")), 1),
        (("wait", "lt/none", "--for", "Ready", "--timeout", "0"), 3),
        (("wait", "lt/none", "--for", "delete", "--timeout", "0"), 0),
        (("wait", "lt/none", "--for", "=x", "--timeout", "0"), 64),
        (("set", "lt", "api"), 64),
        (("retry", "task", "x"), 1),
        (("delete",), 64),
        (("delete", "lt", "none"), 1),
        (("send", "none", "hello"), 1),
        (("run", "--timeout", "3"), 64),
        (("run",), 64),
        (("demo", "--scenario", "none"), 64),
        (("demo", "--list"), 0),
        (("simulate", "--knob", "none=1"), 64),
        (("--log-format", "xml", "version"), 64),
        (("get", "vm"), 1),
    ],
)
def test_exit_codes(run: Run, words: tuple[str, ...], code: int) -> None:
    result = run(*words)
    assert result.code == code, result
    if code in (1, 3, 4, 64) and words[0] != "validate":
        assert re.fullmatch(r"error: [^\n]+\n", result.err), "one line, no traceback"


def test_what_is_wrong_in_a_command_is_told_before_anything_is_fetched_for_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[object] = []
    monkeypatch.setattr(toolchain, "find_toolchain", looked.append)
    result = run("simulate", "--knob", "none=1")
    assert (result.code, looked) == (64, [])
    assert re.fullmatch(r"error: [^\n]+\n", result.err)


def test_a_traceback_only_when_asked_for(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Traceback" not in run("get", "lt/none").err
    monkeypatch.setattr("sys.argv", ["reconciler", "-v"])
    assert "Traceback" in run("-v", "get", "lt/none").err


@pytest.mark.parametrize("path", sorted((MANIFESTS / "invalid").glob("*.yaml")), ids=lambda p: p.stem)
@pytest.mark.guarantee("G-42")
def test_findings_say_where_what_and_how(run: Run, path: Path) -> None:
    _, line, field, word = re.match(r"# (expect:) (\S+) (\S+) (\S+)", path.read_text()).groups()  # type: ignore[union-attr]
    result = run("validate", str(path))
    assert result.code == 1
    found = [re.match(r"(.+):(\d+):(\d+): ([^:]+): (.+); (.+)", text) for text in result.out.splitlines()]
    assert all(found), result.out
    fitting = [m for m in found if m and line in ("-", m[2]) and field in ("-", m[4])]
    assert any(word == "-" or word.lower() in m[0].lower() for m in fitting), result.out
    rows = run("validate", str(path), "-o", "json").json
    assert {tuple(sorted(row)) for row in rows} == {("column", "field", "file", "line", "message")}


def test_apply_twice_is_once(run: Run) -> None:
    assert run("apply", "-f", QUICKSTART).out.splitlines()[0] == "lieutenant/api created"
    before = run("get", "all", "-o", "json").json
    assert "unchanged" in run("apply", "-f", QUICKSTART).out
    assert run("get", "all", "-o", "json").json == before


@pytest.mark.guarantee("G-42")
def test_a_broken_document_does_not_keep_others_out(run: Run, tmp_path: Path) -> None:
    text = Path(QUICKSTART).read_text().replace("role: Build", "rolle: Build", 1)
    result = run("apply", "-f", "-", stdin=text)
    assert result.code == 1
    assert "spec.rolle: unknown field (did you mean role?)" in result.err
    assert "task/api-1-skeleton created" in result.out
    assert run("get", "lt", "-o", "name").out == ""


def test_output_forms(run: Run) -> None:
    run("apply", "-f", QUICKSTART)
    one = run("get", "lieutenant", "api", "-o", "json").json
    assert list(one) == ["apiVersion", "kind", "metadata", "spec", "status"]
    assert one["metadata"]["generation"] == 1
    assert len(one["metadata"]["uid"]) == 36
    many = run("get", "tasks", "-o", "json").json
    assert (many["apiVersion"], many["kind"], len(many["items"])) == ("v1", "List", 3)
    assert YAML(typ="safe", pure=True).load(run("get", "lt/api", "-o", "yaml").out) == one
    assert run("get", "ltask", "-o", "name").out.splitlines() == ["task/api-1-skeleton", "task/api-2-users", "task/api-3-tests"]
    assert run("get", "lt", "api", "-o", "jsonpath={.metadata.name}").out == "api"
    template = '{range .items[*]}{.metadata.name}{"\\n"}{end}'
    assert run("get", "task", "-o", f"jsonpath={template}").out.splitlines()[0] == "api-1-skeleton"
    table = run("get", "all").out
    assert re.search(r"^NAME +READY +REASON +PHASE +AGE$", table, re.M)
    assert re.search(r"^lieutenant/api +Unknown", table, re.M)
    assert "NAMESPACE" in run("get", "lt", "-A").out
    assert run("get", "lt", "-n", "other").err == "nothing found in namespace other\n"
    assert run("get", "lt", "-l", "team=web", "-o", "name").out == "lieutenant/api\n"
    assert run("get", "lt", "-l", "team!=web", "-o", "name").out == ""
    assert "Declared by:    api" in run("describe", "lt", "api").out


def test_a_yaml_document_can_be_applied_again(run: Run) -> None:
    tricky = QUICKSTART_WITH.format(prompt='"yes"')
    run("apply", "-f", "-", stdin=tricky)
    shown = run("get", "task", "t", "-o", "yaml").out
    assert 'prompt: "yes"' in shown
    assert "unchanged" in run("apply", "-f", "-", stdin=shown).out


QUICKSTART_WITH = """apiVersion: fleet.vers.sh/v1alpha1
kind: Task
metadata: {{name: t}}
spec:
  lieutenantRef: {{name: api}}
  prompt: {prompt}
"""


def test_declarations_change_in_the_store(run: Run) -> None:
    run("apply", "-f", QUICKSTART)
    assert run("suspend", "lt", "api").code == 0
    assert run("set", "lt/api", "limits.taskTimeoutSeconds=60", "spec.role=Rest").code == 0
    assert run("cancel", "api-1-skeleton").code == 0
    spec = run("get", "lt", "api", "-o", "json").json["spec"]
    assert (spec["mode"], spec["role"], spec["limits"]) == ("Suspended", "Rest", {"taskTimeoutSeconds": 60})
    assert run("get", "task", "api-1-skeleton", "-o", "jsonpath={.spec.cancel}").out == "true"
    assert run("set", "lt", "api", "mode=").code == 0
    assert "mode" not in run("get", "lt", "api", "-o", "json").json["spec"]
    bad = run("set", "lt", "api", "mode=Sleepy")
    assert bad.code == 1
    assert "Running, Suspended" in bad.err
    assert run("set", "task", "api-2-users", "prompt=Other").code == 64, "a task's prompt is immutable"
    run("retry", "lt", "api")
    assert "fleet.vers.sh/retry" in run("get", "lt", "api", "-o", "json").json["metadata"]["annotations"]


def test_a_protected_object_is_not_deleted(run: Run) -> None:
    text = Path(QUICKSTART).read_text().replace("labels: {team: web}", "annotations: {fleet.vers.sh/deletion-protection: enabled}")
    run("apply", "-f", "-", stdin=text)
    refused = run("delete", "lt", "api")
    assert refused.code == 4
    assert "protected" in refused.err


def test_send_makes_a_task(run: Run) -> None:
    run("apply", "-f", QUICKSTART)
    words = ("--after", "api-1-skeleton", "--file-exists", "a b.txt", "--run", "grep -q 'x y' f", "--steer")
    sent = run("send", "api", "-", *words, stdin="do it\nwell")
    name = sent.out.strip()
    assert re.fullmatch(r"api-[a-z0-9]{5}", name)
    assert "no controller runs" in sent.err
    assert run("get", "task", name, "-o", "json").json["spec"] == {
        "lieutenantRef": {"name": "api"},
        "prompt": "do it\nwell",
        "delivery": "Steer",
        "after": [{"name": "api-1-skeleton"}],
        "acceptance": [{"file": {"path": "a b.txt"}}, {"command": {"run": ["grep", "-q", "x y", "f"]}}],
    }
    assert run("send", "api", "x", "--run", "'").code == 64
    for quoted in ("sh -c 'true && false'", "grep '&&' f", "make --x='a && b'", "grep -E 'a|b' f"):
        assert run("send", "api", "x", "--run", quoted).code == 0, quoted


@pytest.mark.guarantee("G-21")
@pytest.mark.parametrize("command", ["true && false", "test -f a || exit 1", "make|tee log", "true; false", "make > log", "make &"])
def test_a_command_that_only_a_shell_understands_is_refused_and_not_run_in_part(command: str, run: Run) -> None:
    run("apply", "-f", QUICKSTART)
    refused = run("send", "api", "x", "--run", command)
    assert refused.code == 64
    assert "for a shell" in refused.err
    assert "sh -c" in refused.err
    assert run("send", "api", " ").code == 64


def test_settings_come_from_flags_environment_and_file(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "config.toml"
    file.write_text(f'state = "{tmp_path}/elsewhere"\nnamespace = "from-file"\n')
    monkeypatch.delenv("RECONCILER_STATE")
    run("--config", str(file), "apply", "-f", QUICKSTART)
    assert (tmp_path / "elsewhere" / "state.db").exists()
    assert run("get", "lt", "-o", "name", "--config", str(file)).out == "lieutenant/api\n"
    assert run("get", "lt", "-o", "name", "--config", str(file), "-n", "default").out == ""
    monkeypatch.setenv("RECONCILER_STATE", str(tmp_path / "third"))
    assert run("get", "lt", "-o", "name", "--config", str(file)).out == "", "the environment beats the file"
    assert run("get", "lt", "-o", "name", "--config", str(file), "--state", f"{tmp_path}/elsewhere").out == "lieutenant/api\n"
    file.write_text("stat = 1\n")
    assert run("get", "lt", "--config", str(file)).code == 64


def test_the_state_directory_is_private(run: Run, tmp_path: Path) -> None:
    run("apply", "-f", QUICKSTART)
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) & 0o077 for path in (tmp_path / "state").iterdir()} == {0}


def test_made_files_are_those_committed(run: Run, tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    run("crds", "--out", str(tmp_path / "crds"))
    made = {path.name: path.read_text() for path in (tmp_path / "crds").iterdir()}
    assert made == {path.name: path.read_text() for path in (root / "crds").glob("*.yaml")}
    assert run("crds", "--check", "--out", str(root)).code == 0
    assert run("crds", "--check", "--out", str(tmp_path)).code == 1, "there they are no more those of the models"
    run("schema", "--out", str(tmp_path / "schema"))
    assert (tmp_path / "schema" / "any.json").exists()
    assert "Longest run of one task" in run("explain", "lt.spec.limits.taskTimeoutSeconds").out
    assert run("explain", "lt.nothing").code == 64
