"""`python -m tests.kube`: an API server to try things on, gone with Ctrl-C. The operator that acts in it runs on this host:
`reconciler operator`, beside `reconciler simulate` for machines."""

from __future__ import annotations

import os
import signal
import threading

from tests.kube.assets import find
from tests.kube.controlplane import ControlPlane, running

NAMESPACE = "team"


def told(plane: ControlPlane) -> str:
    """What a person needs to go on: two ways in, an admin's and the operator's own."""
    return f"""\
# kube-apiserver at {plane.api_url}, with our kinds and the operator's rights in namespace {NAMESPACE}. No pods run in it. Ctrl-C ends it.
# as an admin:
export KUBECONFIG={plane.admin.kubeconfig} PATH={plane.assets.directory}:$PATH
# machines, and the operator with the rights of deploy/cluster/rbac.yaml and no others:
reconciler simulate --env-file env.sh &
(. ./env.sh; KUBECONFIG={plane.operator.kubeconfig} reconciler operator --namespace {NAMESPACE})
"""


def main() -> None:
    """Until Ctrl-C or SIGTERM."""
    end = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: end.set())
    with running(find(os.environ)) as plane:
        plane.install_crds()
        plane.install_rbac()
        plane.namespace(NAMESPACE)
        print(told(plane), flush=True)
        end.wait()


if __name__ == "__main__":
    main()
