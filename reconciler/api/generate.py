"""Everything that is made from the models and committed: CRDs, editor schemas, the API page."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from reconciler.api.crd import crd
from reconciler.api.docs import api_page
from reconciler.api.meta import Json
from reconciler.api.registry import KINDS
from reconciler.api.schema import any_document, for_editors
from reconciler.api.yamlwriter import yaml_text

CRDS, SCHEMAS, DOCS = "crds", "crds/schema", "docs"
DEPLOYED = ("deploy/cluster", "deploy/chart/crds")


def generate_crds() -> dict[str, str]:
    """File name → YAML of one CustomResourceDefinition; the same models give the same bytes."""
    return {f"{kind.plural}.yaml": _yaml(crd(kind)) for kind in KINDS}


def generate_schemas() -> dict[str, str]:
    """File name → JSON schema for editors: one a kind, and `any.json` for files that mix them."""
    found = {f"{kind.singular}.json": as_json(for_editors(kind)) for kind in KINDS}
    return {**found, "any.json": as_json(any_document(KINDS))}


def generate_docs() -> dict[str, str]:
    """File name → Markdown."""
    return {"api.md": api_page()}


def generate_deploy(crds: Mapping[str, str]) -> dict[str, str]:
    """File name → YAML, from what `generate_crds` made. Kustomize and Helm read nothing outside their own directories, so what is deployed
    has the kinds once more."""
    return {"crds.yaml": "---\n".join(crds.values())}


def write(root: Path) -> list[Path]:
    """Write all of it below `root`; returns the files that changed."""
    changed: list[Path] = []
    for path, text in _expected(root).items():
        if not path.is_file() or path.read_text("utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            changed.append(path)
    return changed


def check(root: Path) -> list[str]:
    """What differs below `root` from what the models say, one line a file with the remedy; [] when nothing does."""
    expected, remedy = _expected(root), "run `make generate`"
    found: list[str] = []
    for path, text in expected.items():
        if not path.is_file():
            found.append(f"{path.relative_to(root)} is missing; {remedy}")
        elif path.read_text("utf-8") != text:
            found.append(f"{path.relative_to(root)} differs from the models; {remedy}")
    for folder, pattern in ((CRDS, "*.yaml"), (SCHEMAS, "*.json")):
        found += [
            f"{path.relative_to(root)} belongs to no kind; remove it"
            for path in sorted((root / folder).glob(pattern))
            if path not in expected
        ]
    return found


def check_packaged() -> list[str]:
    """What differs in the CRDs and schemas that this installation carries from what its models say; [] when nothing does."""
    packaged = files("reconciler") / "made"
    folder: Traversable = packaged if packaged.is_dir() else Path(__file__).resolve().parents[2] / CRDS
    parts = ((folder, generate_crds()), (folder / "schema", generate_schemas()))
    return [line for part, texts in parts for line in _differing(part, texts, "install the package again")]


def check_folder(folder: Path) -> list[str]:
    """What differs in a folder that the CRDs were written to; [] when nothing does."""
    return _differing(folder, generate_crds(), f"run `reconciler crds --out {folder}`")


def _differing(folder: Traversable, texts: Mapping[str, str], remedy: str) -> list[str]:
    found: list[str] = []
    for name, text in texts.items():
        path = folder / name
        if not path.is_file():
            found.append(f"{path} is missing; {remedy}")
        elif path.read_text("utf-8") != text:
            found.append(f"{path} differs from the models; {remedy}")
    return found


def _expected(root: Path) -> dict[Path, str]:
    crds = generate_crds()
    made = (
        (CRDS, crds),
        (SCHEMAS, generate_schemas()),
        (DOCS, generate_docs()),
        *((folder, generate_deploy(crds)) for folder in DEPLOYED),
    )
    return {root / folder / name: text for folder, texts in made for name, text in texts.items()}


def as_json(value: Json) -> str:
    """A schema as it is written into a file."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def _yaml(value: Json) -> str:
    return "# Made by `reconciler crds`; do not edit.\n" + yaml_text(value)
