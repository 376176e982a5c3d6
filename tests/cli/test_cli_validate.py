"""`validate` for people and for programs."""

from __future__ import annotations

from pathlib import Path

from tests.cli.conftest import Run

BAD = "apiVersion: fleet.vers.sh/v1alpha1\nkind: Task\nmetadata: {name: a}\nspec: {lieutenantRef: {name: x}, prompt: hi, retrys: 1}\n"


def test_sarif_has_each_finding_at_its_place(run: Run, tmp_path: Path) -> None:
    (tmp_path / "two words.yaml").write_text(BAD)
    (tmp_path / "b.yaml").write_text(BAD.replace("name: a", "name: b"))
    done = run("validate", "two words.yaml", str(tmp_path / "b.yaml"), "-o", "sarif")
    assert done.code == 1
    (told,) = done.json["runs"]
    assert done.json["version"] == "2.1.0"
    assert told["tool"]["driver"]["name"] == "reconciler validate"
    places = [one["locations"][0]["physicalLocation"] for one in told["results"]]
    assert [one["artifactLocation"]["uri"] for one in places] == [(tmp_path / "b.yaml").as_uri(), "two%20words.yaml"]
    assert [one["region"] for one in places] == [{"startLine": 4, "startColumn": 46}] * 2
    rules = {rule["id"] for rule in told["tool"]["driver"]["rules"]}
    for one in told["results"]:
        assert one["ruleId"] in rules
        assert one["level"] == "error"
        assert one["message"]["text"].startswith("spec.retrys: unknown field (did you mean retries?)")


def test_sarif_of_valid_files_is_a_run_without_results(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(BAD.replace(", retrys: 1", ""))
    done = run("validate", "a.yaml", "-o", "sarif")
    assert done.code == 0
    assert done.json["runs"][0]["results"] == []


def test_json_and_text_say_the_same(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(BAD)
    (row,) = run("validate", "a.yaml", "-o", "json").json
    assert set(row) == {"file", "line", "column", "field", "message"}
    assert run("validate", "a.yaml").out == f"{row['file']}:{row['line']}:{row['column']}: {row['field']}: {row['message']}\n"
