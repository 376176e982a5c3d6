"""The worked examples of docs/governance.md are those of examples/governed, and what they say of themselves is so."""

from __future__ import annotations

import re

import pytest
import yaml

from reconciler.api.parsing import load_spec
from reconciler.api.permissions import Permissions
from reconciler.core.governance.permissions.declared import never_matching, wrong_examples
from tests.conformance.test_project import ROOT

PAGE = (ROOT / "docs" / "governance.md").read_text("utf-8")
FILES = sorted((ROOT / "examples" / "governed").glob("*.yaml"))
BLOCKS = [block for block in re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL) if block.startswith("permissions:")]
WORK_DIR = "/root/workspace"


def of_file(name: str) -> dict[str, object]:
    """What the lieutenant of this example may do."""
    found = next(
        doc for doc in yaml.safe_load_all((ROOT / "examples" / "governed" / name).read_text("utf-8")) if doc["kind"] == "Lieutenant"
    )
    told = found["spec"]["permissions"]
    assert isinstance(told, dict)
    return told


def test_the_page_has_every_example_as_its_file_has_it() -> None:
    on_the_page = [yaml.safe_load(block)["permissions"] for block in BLOCKS]
    assert len(on_the_page) == len(FILES) == 4
    for path in FILES:
        assert of_file(path.name) in on_the_page, f"{path.name} is not on the page"


@pytest.mark.guarantee("G-28")
@pytest.mark.parametrize("name", [path.name for path in FILES])
def test_what_it_says_of_calls_is_so(name: str) -> None:
    declared = load_permissions(of_file(name))
    assert list(wrong_examples("Lieutenant", declared, WORK_DIR)) == []
    assert list(never_matching(declared)) == []
    expected = {example.expect.value for example in declared.examples}
    assert len(expected) > 1, "it shows what is allowed and what is not"


@pytest.mark.guarantee("G-28")
def test_an_example_that_is_wrong_would_be_found() -> None:
    told = of_file("read-only.yaml")
    wrong = load_permissions({**told, "allow": ["read", "write", "grep", "find", "ls"], "tools": ["read", "write"]})
    assert len(list(wrong_examples("Lieutenant", wrong, WORK_DIR))) == 1


def load_permissions(told: object) -> Permissions:
    spec = load_spec("Lieutenant", {"role": "x", "profileRef": {"name": "lightweight"}, "permissions": told})
    permissions = spec.permissions  # type: ignore[attr-defined]
    assert isinstance(permissions, Permissions)
    return permissions
