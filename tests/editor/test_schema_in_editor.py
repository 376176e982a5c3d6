"""The schema that `reconciler init` writes, in the language server that editors run: good files are quiet, bad ones are underlined at
the line that `validate` names, fields are completed and explained."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.cli.init import starter
from reconciler.errors import Terminal
from tests.editor.server import LanguageServer, installed, language_server

pytestmark = [pytest.mark.real("yaml-language-server"), pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
MANIFESTS = ROOT / "tests" / "manifests"
GOOD = [
    path for folder in (MANIFESTS / "valid", ROOT / "examples", ROOT / "specs" / "profiles") for path in sorted(folder.glob("[!.]*.yaml"))
]
BY_SCHEMA = (
    "bad-enum",
    "bad-name",
    "bad-vmid",
    "duplicate-key",
    "empty-prompt",
    "float-money",
    "memory-with-unit",
    "missing-role",
    "negative-limit",
    "tab-indent",
    "typo-field",
    "unknown-kind",
    "unknown-version",
)
"""What a schema, or YAML itself, can tell; the others need rules over several fields, which `validate` has."""


@pytest.fixture(scope="module")
def editor(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[LanguageServer, Path]]:
    """An editor in a folder of `init`, with that folder's own settings."""
    try:
        installed()
    except Terminal as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("fleet")
    for name, text in starter().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    settings = json.loads((folder / ".vscode" / "settings.json").read_text())["yaml.schemas"]
    with language_server({(folder / schema).as_uri(): pattern for schema, pattern in settings.items()}) as server:
        yield server, folder


def opened(editor: tuple[LanguageServer, Path], text: str, name: str) -> list[tuple[int, str]]:
    server, folder = editor
    return server.check((folder / "specs" / name).as_uri(), text)


@pytest.mark.parametrize("file", GOOD, ids=lambda file: file.name)
def test_a_good_file_is_quiet(editor: tuple[LanguageServer, Path], file: Path) -> None:
    text = file.read_text()
    if "yaml-language-server: $schema=" in text:
        assert editor[0].check(file.as_uri(), text) == [], "it names its schema itself"
        return
    assert opened(editor, text, f"good-{file.name}") == []


@pytest.mark.parametrize("name", ["fleet.yaml", ".reconciler.yaml"])
def test_the_files_of_init_are_quiet(editor: tuple[LanguageServer, Path], name: str) -> None:
    assert opened(editor, (editor[1] / "specs" / name).read_text(), name) == []


def test_a_bad_stack_is_underlined(editor: tuple[LanguageServer, Path]) -> None:
    text = "uuid: 3f0c2f3e-8f0f-4a63-9b7a-8f0a6e1f2d11\nprune: maybe\nmaxDeletes: 1\nonDrift: Shrug\n"
    assert {line for line, _ in opened(editor, text, "below/.reconciler.yaml")} == {2, 3, 4}


@pytest.mark.guarantee("G-42")
@pytest.mark.parametrize("name", BY_SCHEMA)
def test_a_bad_file_is_underlined(editor: tuple[LanguageServer, Path], name: str) -> None:
    text = (MANIFESTS / "invalid" / f"{name}.yaml").read_text()
    found = opened(editor, text, f"bad-{name}.yaml")
    expected = re.match(r"# expect: (\d+)", text)
    assert found
    assert expected is not None
    assert any(abs(line - int(expected[1])) <= 1 for line, _ in found), found


def test_fields_are_completed_and_explained(editor: tuple[LanguageServer, Path]) -> None:
    server, folder = editor
    text = "apiVersion: fleet.vers.sh/v1alpha1\nkind: Lieutenant\nmetadata: {name: a}\nspec:\n  role: x\n  profileRef: {name: full}\n  \n"
    uri = (folder / "specs" / "typing.yaml").as_uri()
    server.check(uri, text)
    assert {"mode", "limits", "model"} <= server.complete(uri, 6, 2)
    assert "retries" not in server.complete(uri, 6, 2), "that is a field of a task"
    assert "system prompt" in server.hover(uri, 4, 3)
