"""What makes Kubernetes' programs cheaper: only what no test meets is left out of them."""

from __future__ import annotations

_NOT_SERVED = (
    "autoscaling/v1",
    "autoscaling/v2",
    "batch/v1",
    "certificates.k8s.io/v1",
    "node.k8s.io/v1",
    "resource.k8s.io/v1",
    "scheduling.k8s.io/v1",
    "storage.k8s.io/v1",
)
"""Of Kubernetes' own kinds those that nothing of ours has to do with. A server describes and watches each of them from its start on: a
fifth of what it costs to start, and of what it costs while nothing is asked."""

_NOT_ADMITTED_BY = (
    # Without a controller manager there are no service accounts to wait for.
    "ServiceAccount",
    # They wait for kinds that are not served, and judge pods, volumes and certificates, which nobody makes.
    "CertificateApproval",
    "CertificateSigning",
    "CertificateSubjectRestriction",
    "DefaultStorageClass",
    "PersistentVolumeClaimResize",
    "Priority",
    "RuntimeClass",
)

SERVER_FLAGS = (
    "--bind-address=127.0.0.1",
    "--advertise-address=127.0.0.1",
    "--authorization-mode=RBAC",
    "--service-cluster-ip-range=10.0.0.0/24",
    "--service-account-issuer=https://kubernetes.default.svc",
    # Nobody needs to find this server as a Service.
    "--endpoint-reconciler-type=none",
    f"--disable-admission-plugins={','.join(_NOT_ADMITTED_BY)}",
    f"--runtime-config={','.join(f'{group}=false' for group in _NOT_SERVED)}",
)

OF_SERVERS = {"GOGC": "400", "GOMEMLIMIT": "600MiB", "GOMAXPROCS": "1"}
"""Environment. Go collects garbage less often: a quarter of a server's processor time, for 200 MB of memory. And it uses one processor:
while nothing is asked that costs a fifth less, as no thread looks for what others may have left to do."""

OF_COMMANDS = {"GOGC": "off", "GOMEMLIMIT": "400MiB"}
"""Environment. kubectl and helm end before their garbage matters: a fifth of their processor time."""
