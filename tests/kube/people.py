"""People with few rights: each a service account of a namespace, with the rules given and no others."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from tests.kube.controlplane import Identity, Namespace

OURS = ("bootprofiles", "lieutenants", "tasks", "vmtrees")
READING = ("get", "list", "watch")
GROUP = "rbac.authorization.k8s.io"


def rule(group: str, resources: Sequence[str], verbs: Sequence[str]) -> dict[str, Any]:
    return {"apiGroups": [group], "resources": list(resources), "verbs": list(verbs)}


LOOKS = rule("fleet.vers.sh", OURS, READING)
SEES_LEASES = rule("coordination.k8s.io", ["leases"], READING)
ASKS_FOR_ORPHANS = rule("coordination.k8s.io", ["leases"], ["patch"])


def somebody(cluster: Namespace, *rules: Mapping[str, Any]) -> Identity:
    """May do these things in this namespace. The kubeconfig's context is in it."""
    name = f"somebody-{secrets.token_hex(3)}"
    where = {"name": name, "namespace": cluster.name}
    subject = {"kind": "ServiceAccount", **where}
    cluster.plane.apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": where},
        {"apiVersion": f"{GROUP}/v1", "kind": "Role", "metadata": where, "rules": list(rules)},
        {
            "apiVersion": f"{GROUP}/v1",
            "kind": "RoleBinding",
            "metadata": where,
            "roleRef": {"apiGroup": GROUP, "kind": "Role", "name": name},
            "subjects": [subject],
        },
    )
    token = cluster.kubectl("create", "token", name).strip()
    made = Identity(name, token, cluster.plane.home / f"{name}.kubeconfig")
    made.kubeconfig.write_text(json.dumps(cluster.plane._kubeconfig(made, cluster.name)))
    return made
