"""What is written to the declarations in a cluster."""

from __future__ import annotations

from reconciler.engine.effects import Effects
from reconciler.sources.kube.client import Cluster


class NumberedWrites:
    """Calls of `Cluster` by what they are for, each of them an effect."""

    def __init__(self, cluster: Cluster, effects: Effects) -> None:
        self.status = effects.of("kube.status", cluster.replace)
        self.add_finalizer = effects.of("kube.add_finalizer", cluster.merge)
        self.remove_finalizer = effects.of("kube.remove_finalizer", cluster.merge)
        self.delete = effects.of("kube.delete", cluster.delete)
        self.declare = effects.of("kube.declare", cluster.create)
        self.redeclare = effects.of("kube.redeclare", cluster.replace)
        self.annotate = effects.of("kube.annotate", cluster.merge)
