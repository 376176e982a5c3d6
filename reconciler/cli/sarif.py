"""Findings as SARIF 2.1.0, the form in which forges and editors take the results of checks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePath
from urllib.parse import quote

from reconciler.api.version import API_VERSION
from reconciler.core.keys import Json, JsonValue
from reconciler.sources.documents.reader import Finding

SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
RULE = "declaration"


def sarif(findings: Sequence[Finding], version: str) -> Json:
    """The whole document: one run, one result a finding, in the given order."""
    rule: Json = {
        "id": RULE,
        "name": "Declaration",
        "shortDescription": {"text": f"A declaration of {API_VERSION} must be valid."},
        "fullDescription": {"text": "Every document is read as Kubernetes reads it, and every field is checked without a controller."},
        "defaultConfiguration": {"level": "error"},
        "help": {"text": "`reconciler explain KIND.FIELD` explains a field."},
    }
    driver: Json = {"name": "reconciler validate", "version": version, "rules": [rule]}
    results: list[JsonValue] = [_result(one) for one in findings]
    run: Json = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _result(finding: Finding) -> Json:
    text = f"{finding.field}: {finding.message}" if finding.field else finding.message
    region: Json = {"startLine": finding.line, "startColumn": finding.column}
    place: Json = {"artifactLocation": {"uri": uri(finding.file)}, "region": region}
    logical: list[JsonValue] = [{"fullyQualifiedName": finding.field, "kind": "member"}] if finding.field else []
    location: Json = {"physicalLocation": place, **({"logicalLocations": logical} if logical else {})}
    return {"ruleId": RULE, "ruleIndex": 0, "level": "error", "message": {"text": text}, "locations": [location]}


def uri(file: str) -> str:
    """A file as a URI: relative where the file was named so."""
    path = PurePath(file)
    return path.as_uri() if path.is_absolute() else quote(path.as_posix())
