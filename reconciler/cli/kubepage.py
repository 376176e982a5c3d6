"""What the page of an operator changes: the objects in the cluster, as `--kube` commands change them, by the operator's own rights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cli.kube import act
from reconciler.core.audit import Actor
from reconciler.core.keys import Json
from reconciler.errors import Forbidden, ReconcilerError
from reconciler.serve.commands import error_answer

if TYPE_CHECKING:  # heavy parts, loaded when something listens
    from reconciler.serve.surface import Handle
    from reconciler.sources.kube.client import Cluster

PAGE = "reconciler-page"
"""Who declares a field that was changed on the page."""


def declaring(cluster: Cluster) -> Handle:
    """Carries a request of `reconciler.serve.verbs` out in the cluster, whose own audit log tells of it."""

    async def carried_out(request: Json, _: Actor) -> Json:
        try:
            return {"ok": await act(cluster, request, PAGE)}
        except Forbidden as error:
            remedy = "give the operator the ClusterRole reconciler-page there (docs/kubernetes.md), or use kubectl"
            return error_answer(Forbidden(error.what, error.where, remedy))
        except ReconcilerError as error:
            return error_answer(error)

    return carried_out
