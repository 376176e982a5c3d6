"""A real Kubernetes API server: etcd and kube-apiserver of this machine, on free loopback ports, in a directory of their own.

There is no controller manager, no scheduler and no node, so nothing collects garbage: a deleted namespace stays Terminating, and an owner's
deletion takes nothing with it. Two people know the server: an admin, and the operator, whom RBAC lets do what deploy/cluster/rbac.yaml
says.
"""

from __future__ import annotations

import contextlib
import datetime
import ipaddress
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx2 as httpx
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from reconciler.api.meta import GROUP, VERSION
from reconciler.api.registry import KINDS
from tests.background import eventually
from tests.kube.assets import ROOT, Assets

START_SECONDS = 60
OPERATOR = "reconciler-operator"
"""The user whose rights are those of deploy/cluster/rbac.yaml."""

OURS = {word: kind.plural for kind in KINDS for word in (kind.name, *kind.words)}
"""The plural of our kinds, by every word that kubectl knows them by."""

_SERVER_FLAGS = (
    "--bind-address=127.0.0.1",
    "--advertise-address=127.0.0.1",
    "--authorization-mode=RBAC",
    "--service-cluster-ip-range=10.0.0.0/24",
    "--service-account-issuer=https://kubernetes.default.svc",
    # Without a controller manager there are no service accounts to wait for, and nobody needs to find this server as a Service.
    "--disable-admission-plugins=ServiceAccount",
    "--endpoint-reconciler-type=none",
)

_FEWER_COLLECTIONS = {"GOGC": "400", "GOMEMLIMIT": "600MiB"}
"""Go collects garbage less often: a quarter of a server's processor time, for 200 MB of memory."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody the API server knows. `kubeconfig`: a file with the address, the CA and this token."""

    name: str
    token: str = field(repr=False)
    kubeconfig: Path


class Failed(AssertionError):
    """kubectl exited with something else than 0; the text is what it said."""


class ControlPlane:
    """Both servers. `api_url`, `ca` and the two identities stay the same over every stop and start."""

    def __init__(self, assets: Assets, home: Path, flags: Sequence[str] = ()) -> None:
        """`home`: an existing directory that this object may fill; `flags`: more of them for kube-apiserver."""
        self.assets, self.home, self._flags = assets, home, tuple(flags)
        self.api_port = self.etcd_port = 0
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        # The kernel ends a server with the *thread* that started it, so that thread must live as long as the servers should.
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="control-plane")
        self.ca = home / "pki" / "ca.crt"
        _make_pki(home / "pki")
        self._http = httpx.Client(verify=ssl.create_default_context(cafile=str(self.ca)), trust_env=False, timeout=30)
        self.admin = Identity("admin", secrets.token_hex(16), home / "admin.kubeconfig")
        self.operator = Identity(OPERATOR, secrets.token_hex(16), home / "operator.kubeconfig")
        tokens = [f'{self.admin.token},admin,admin,"system:masters"', f"{self.operator.token},{OPERATOR},{OPERATOR}"]
        _write(home / "tokens.csv", "\n".join(tokens) + "\n")

    @property
    def api_url(self) -> str:
        return f"https://127.0.0.1:{self.api_port}"

    # --- start and stop -------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Both servers, until the API server is ready. Raises AssertionError with the end of its log when it is not."""
        for attempt in range(3):
            # Between asking for free ports and taking them, somebody else may have taken them.
            self.etcd_port, peer, self.api_port = _free_ports(3)
            self._start_etcd(peer)
            self._start_api()
            if self._await_ready():
                break
            assert attempt < 2, f"no API server after three attempts: {self.log('etcd')}\n{self.log('kube-apiserver')}"
            self.close_servers()
            shutil.rmtree(self.home / "etcd", ignore_errors=True)
        for one in (self.admin, self.operator):
            _write(one.kubeconfig, json.dumps(self._kubeconfig(one, "default")))

    def stop_api(self, *, crash: bool = False) -> None:
        """The API server goes away, politely or (`crash`) from one moment to the next; etcd and what it holds stay."""
        self._end("kube-apiserver", signal.SIGKILL if crash else signal.SIGTERM)

    def start_api(self) -> None:
        """The API server again, on the port it had, until it is ready."""
        self._start_api()
        assert self._await_ready(), f"the API server did not come back: {self.log('kube-apiserver')}"

    def restart_api(self, *, crash: bool = False) -> None:
        """`stop_api` and `start_api`: every watch breaks, and the new server's watch cache does not know old resourceVersions."""
        self.stop_api(crash=crash)
        self.start_api()

    @contextlib.contextmanager
    def api_down(self, *, crash: bool = True) -> Iterator[None]:
        """Within it there is no API server; after it there is one again, whatever happened."""
        self.stop_api(crash=crash)
        try:
            yield
        finally:
            self.start_api()

    def close_servers(self) -> None:
        """End both, by their pids."""
        for name in ("kube-apiserver", "etcd"):
            self._end(name, signal.SIGTERM)

    def close(self) -> None:
        self._http.close()
        self.close_servers()
        self._starter.shutdown()

    def log(self, name: str) -> str:
        """The end of what a server (`etcd`, `kube-apiserver`) has said."""
        path = self.home / f"{name}.log"
        return path.read_text(errors="replace")[-3000:] if path.exists() else ""

    # --- use ------------------------------------------------------------------------------------------------------------------

    def kubectl(self, *words: str, stdin: str = "", identity: Identity | None = None, columns: int = 80, seconds: float = 60.0) -> str:
        """Run kubectl (as admin, unless told otherwise) to its end; its stdout. Raises `Failed` with its stderr."""
        done = self.try_kubectl(*words, stdin=stdin, identity=identity, columns=columns, seconds=seconds)
        if done.returncode != 0:
            raise Failed(f"kubectl {' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def try_kubectl(
        self, *words: str, stdin: str = "", identity: Identity | None = None, columns: int = 80, seconds: float = 60.0
    ) -> subprocess.CompletedProcess[str]:
        """As `kubectl`, whatever the exit code."""
        argv = [self.assets.program("kubectl"), "--cache-dir", str(self.home / "kubectl-cache"), *words]
        env = {"PATH": os.defpath, "HOME": str(self.home), "COLUMNS": str(columns), "KUBECONFIG": str((identity or self.admin).kubeconfig)}
        return subprocess.run(argv, env=env, cwd=self.home, input=stdin, capture_output=True, text=True, timeout=seconds, check=False)

    def get(self, path: str) -> tuple[int, Any]:
        """GET `path` as admin: HTTP status and the decoded body (None when it is no JSON). Raises httpx.TransportError when nobody does."""
        return self.request("GET", path)

    def request(
        self, method: str, path: str, body: Any = None, *, identity: Identity | None = None, content_type: str = "application/json"
    ) -> tuple[int, Any]:
        """One request, without kubectl's own wisdom: HTTP status and the decoded body (None when it is not JSON).

        Raises httpx.TransportError."""
        headers = {"Authorization": f"Bearer {(identity or self.admin).token}", "Content-Type": content_type}
        answer = self._http.request(method, self.api_url + path, headers=headers, content=None if body is None else json.dumps(body))
        try:
            return answer.status_code, answer.json()
        except ValueError:
            return answer.status_code, None

    def install_crds(self) -> None:
        """Our kinds, until each can be listed. Applying them again is harmless."""
        self.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
        shutil.rmtree(self.home / "kubectl-cache", ignore_errors=True)  # kubectl believes for hours in what it knew
        for kind in KINDS:
            path = f"/apis/{GROUP}/{VERSION}/{kind.plural}"
            eventually(partial(self._lists, path), f"{kind.plural} can be listed")

    def _lists(self, path: str) -> bool:
        return self.get(path)[0] == 200

    def install_rbac(self) -> None:
        """The roles of deploy/cluster/rbac.yaml; what is cluster-wide in them is given to the operator, the rest `namespace` gives."""
        for file in ("rbac.yaml", "page.yaml"):
            self.kubectl("apply", "--server-side", "-f", str(ROOT / "deploy" / "cluster" / file))
        self.apply(_binding("ClusterRoleBinding", "operator", "reconciler-cluster", None))

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Server-side apply of objects given as JSON values."""
        listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
        self.kubectl("apply", "--server-side", "-f", "-", stdin=json.dumps(listed))

    def namespace(self, name: str = "") -> Namespace:
        """A new namespace in which the operator may act. `name`: a random one if empty."""
        name = name or f"t-{secrets.token_hex(4)}"
        self._put(f"/api/v1/namespaces/{name}", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
        for binding, role in (("operator", "reconciler"), ("operator-lease", "reconciler-lease")):
            path = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{name}/rolebindings/{binding}"
            self._put(path, _binding("RoleBinding", binding, role, name))
        return Namespace(self, name)

    # --- inside ---------------------------------------------------------------------------------------------------------------

    def _put(self, path: str, content: Mapping[str, Any]) -> None:
        """Server-side apply of one object, without a kubectl: many tests begin with it."""
        status, told = self.request("PATCH", f"{path}?fieldManager=tests&force=true", content, content_type="application/apply-patch+yaml")
        assert status in (200, 201), told

    def _start_etcd(self, peer: int) -> None:
        clients, peers = f"http://127.0.0.1:{self.etcd_port}", f"http://127.0.0.1:{peer}"
        flags = [
            f"--data-dir={self.home / 'etcd'}",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            "--unsafe-no-fsync",  # a test's data need not outlive the machine
            "--log-level=warn",
        ]
        self._spawn("etcd", flags)

    def _start_api(self) -> None:
        pki = self.home / "pki"
        flags = [
            *_SERVER_FLAGS,
            f"--secure-port={self.api_port}",
            f"--etcd-servers=http://127.0.0.1:{self.etcd_port}",
            f"--tls-cert-file={pki / 'server.crt'}",
            f"--tls-private-key-file={pki / 'server.key'}",
            f"--cert-dir={pki}",
            f"--service-account-key-file={pki / 'accounts.key'}",
            f"--service-account-signing-key-file={pki / 'accounts.key'}",
            f"--token-auth-file={self.home / 'tokens.csv'}",
            *self._flags,
        ]
        self._spawn("kube-apiserver", flags)

    def _spawn(self, name: str, flags: Sequence[str]) -> None:
        assert name not in self._processes, f"{name} runs already"
        setpriv = shutil.which("setpriv")
        tied = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []  # should the tests be killed, the servers go too

        def start() -> subprocess.Popen[bytes]:
            with (self.home / f"{name}.log").open("ab") as output:
                argv = [*tied, self.assets.program(name), *flags]
                env = {**os.environ, **_FEWER_COLLECTIONS}
                return subprocess.Popen(argv, env=env, cwd=self.home, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)

        self._processes[name] = self._starter.submit(start).result()

    def _end(self, name: str, how: signal.Signals) -> None:
        process = self._processes.pop(name, None)
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(20)

    def _await_ready(self) -> bool:
        """Until /readyz says ok; False as soon as one of the servers has ended, or when time is up."""
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and all(one.poll() is None for one in self._processes.values()):
            with contextlib.suppress(httpx.TransportError):  # refused, or closed in the middle: it is starting
                if self.get("/readyz")[0] == 200:
                    return True
            time.sleep(0.05)
        return False

    def kubeconfig(self, identity: Identity, namespace: str) -> Path:
        """A file with the identity, whose context is in `namespace`: what names none means that one, as for a user."""
        path = identity.kubeconfig.with_name(f"{identity.name}.{namespace}.kubeconfig")
        if not path.exists():
            _write(path, json.dumps(self._kubeconfig(identity, namespace)))
        return path

    def _kubeconfig(self, identity: Identity, namespace: str) -> dict[str, Any]:
        return {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": {"server": self.api_url, "certificate-authority": str(self.ca)}}],
            "users": [{"name": identity.name, "user": {"token": identity.token}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": identity.name, "namespace": namespace}}],
        }


@dataclass(frozen=True, slots=True)
class Namespace:
    """One test's own namespace. The operator may act in it."""

    plane: ControlPlane
    name: str

    def kubectl(self, *words: str, stdin: str = "", identity: Identity | None = None, columns: int = 80, seconds: float = 60.0) -> str:
        """`ControlPlane.kubectl` in a context of this namespace."""
        return self.plane.kubectl(*words, stdin=stdin, identity=self.inside(identity), columns=columns, seconds=seconds)

    def try_kubectl(self, *words: str, stdin: str = "", identity: Identity | None = None) -> subprocess.CompletedProcess[str]:
        return self.plane.try_kubectl(*words, stdin=stdin, identity=self.inside(identity))

    def inside(self, identity: Identity | None = None) -> Identity:
        """The identity (the admin if None) with a kubeconfig whose context is in this namespace."""
        one = identity or self.plane.admin
        return replace(one, kubeconfig=self.plane.kubeconfig(one, self.name))

    def apply(self, text: str) -> str:
        """`kubectl apply` of YAML or JSON text, as a user does it."""
        return self.kubectl("apply", "-f", "-", stdin=text)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """One object as the server has it. `kind`: any word kubectl knows. Without a kubectl where it can be: tests ask often."""
        if kind in OURS:
            status, told = self.plane.get(f"/apis/{GROUP}/{VERSION}/namespaces/{self.name}/{OURS[kind]}/{name}")
            if status == 200 and isinstance(told, dict):
                return told
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "-o", "json"))
        return found

    def list(self, kind: str) -> list[dict[str, Any]]:
        items: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, "-o", "json"))["items"]
        return items

    def set_status(self, kind: str, name: str, status: Mapping[str, Any]) -> None:
        """Merge `status` into the object's, through the status subresource (for tests that play the controller)."""
        patch = json.dumps({"status": status})
        self.kubectl("patch", kind, name, "--subresource=status", "--type=merge", "--patch", patch)


@contextlib.contextmanager
def running(assets: Assets, flags: Sequence[str] = ()) -> Iterator[ControlPlane]:
    """A started control plane, without our kinds; ended and removed in the end."""
    with tempfile.TemporaryDirectory(prefix="reconciler-kube-", ignore_cleanup_errors=True) as home:
        plane = ControlPlane(assets, Path(home), flags)
        try:
            plane.start()
            yield plane
        finally:
            plane.close()


def _binding(kind: str, name: str, role: str, namespace: str | None) -> dict[str, Any]:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": name, **({"namespace": namespace} if namespace else {})},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
        "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": OPERATOR}],
    }


class _Strictly(yaml.CSafeLoader):
    """A key that stands twice is a mistake, of which the loader itself says nothing."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        found: dict[Any, Any] = super().construct_mapping(node, deep)
        assert len(found) == len(node.value), f"a key stands twice: {node.start_mark}"
        return found


def documents(path: Path) -> list[Any]:
    """The documents of a YAML file, plainly. Our kinds are 200 KB of it, for which a reader in Python takes ten times as long."""
    return [one for one in yaml.load_all(path.read_text("utf-8"), _Strictly) if one is not None]


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        ports: list[int] = []
        for _ in range(count):
            one = held.enter_context(socket.socket())
            one.bind(("127.0.0.1", 0))
            ports.append(int(one.getsockname()[1]))
        return ports


def _write(path: Path, text: str) -> None:
    path.touch(0o600)
    path.write_text(text, "utf-8")


def _make_pki(folder: Path) -> None:
    """A CA of our own, the server's certificate for loopback, and the key that service accounts' tokens would be signed with."""
    folder.mkdir(mode=0o700)
    ca_key, server_key, accounts_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "reconciler tests")])
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kube-apiserver")])
    loopback = x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    ca = _certificate(issuer, issuer, ca_key, ca_key).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    server = _certificate(subject, issuer, server_key, ca_key).add_extension(loopback, critical=False)
    for name, builder in (("ca.crt", ca), ("server.crt", server)):
        signed = builder.sign(ca_key, hashes.SHA256())
        _write(folder / name, signed.public_bytes(serialization.Encoding.PEM).decode())
    for name, key in (("server.key", server_key), ("accounts.key", accounts_key)):
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        _write(folder / name, private.decode())


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, issuer_key: ec.EllipticCurvePrivateKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    whose = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(whose, critical=False)
        .add_extension(signer, critical=False)
    )
