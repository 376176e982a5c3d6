"""CustomResourceDefinitions of the four kinds, as JSON values."""

from __future__ import annotations

from reconciler.api.meta import GROUP, LABEL, VERSION, Json
from reconciler.api.registry import Column, Kind
from reconciler.api.schema import structural


def crd(kind: Kind) -> Json:
    """The CustomResourceDefinition of one kind: structural, with CEL rules, list-map keys, columns and a status subresource."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{kind.plural}.{GROUP}"},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "singular": kind.singular,
                "plural": kind.plural,
                "shortNames": [kind.short],
                "categories": ["fleet"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(column) for column in kind.columns],
                    "schema": {"openAPIV3Schema": _document(kind)},
                }
            ],
        },
    }


def _column(column: Column) -> Json:
    found: Json = {"name": column.name, "type": column.type, "jsonPath": column.path, "description": column.description}
    if column.wide:
        found["priority"] = 1
    return found


def _document(kind: Kind) -> Json:
    found: Json = {
        "description": (kind.model.__doc__ or "").strip(),
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string", "maxLength": 64, "description": "Group and version of this API."},
            "kind": {"type": "string", "maxLength": 64, "description": f"`{kind.name}`."},
            "metadata": {
                "type": "object",  # and no description: an API server refuses any
                # Names of owned objects and labels are made from it, so it is shorter than Kubernetes would allow.
                "properties": {
                    "name": {"type": "string", "maxLength": 52, "pattern": LABEL, "description": "Unique per kind and namespace."},
                },
            },
            "spec": structural(kind.spec),
            "status": structural(kind.status),
        },
    }
    if told := kind.model.validations():
        found["x-kubernetes-validations"] = told
    return found
