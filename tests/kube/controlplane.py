"""A real Kubernetes API server: etcd and kube-apiserver of this machine, on free loopback ports, in a directory of their own.

There is no controller manager, no scheduler and no node, so nothing collects garbage: a deleted namespace stays Terminating, and an owner's
deletion takes nothing with it. Two people know the server: an admin, and the operator, whom RBAC lets do what deploy/cluster/rbac.yaml
says.
"""

from __future__ import annotations

import contextlib
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx2 as httpx
import yaml

from reconciler.api.meta import GROUP, VERSION
from reconciler.api.registry import KINDS
from tests.background import eventually
from tests.kube import frugal, pki
from tests.kube.assets import ROOT, Assets

START_SECONDS = 60
OPERATOR = "reconciler-operator"
"""The user whose rights are those of deploy/cluster/rbac.yaml."""
BINDINGS = {"operator": "reconciler", "operator-lease": "reconciler-lease"}
"""What gives them in a namespace, and the role that it gives."""

OURS = {word: kind.plural for kind in KINDS for word in (kind.name, *kind.words)}
"""The plural of our kinds, by every word that kubectl knows them by."""

_KNOWN = {
    **{word: (f"{GROUP}/{VERSION}", plural) for word, plural in OURS.items()},
    "lease": ("coordination.k8s.io/v1", "leases"),
    "events.events.k8s.io": ("events.k8s.io/v1", "events"),
}
"""What is asked for without a kubectl: its version and plural."""

_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


def path_of(version: str, plural: str, namespace: str = "", name: str = "") -> str:
    """Where the server has objects of a kind; '' for all namespaces (or none), and for all names."""
    steps = ["apis" if "/" in version else "api", version, *(["namespaces", namespace] if namespace else []), plural]
    return "/" + "/".join([*steps, *([name] if name else [])])


@dataclass(frozen=True, slots=True)
class Identity:
    """Somebody the API server knows. `kubeconfig`: a file with the address, the CA and this token."""

    name: str
    token: str = field(repr=False)
    kubeconfig: Path


class Failed(AssertionError):
    """kubectl exited with something else than 0, or the server refused what was asked without it; the text is what was said."""


class ControlPlane:
    """Both servers. `api_url`, `ca` and the two identities stay the same over every stop and start."""

    def __init__(self, assets: Assets, home: Path, flags: Sequence[str] = ()) -> None:
        """`home`: an existing directory that this object may fill; `flags`: more of them for kube-apiserver."""
        self.assets, self.home, self._flags = assets, home, tuple(flags)
        self.api_port = self.etcd_port = 0
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        # The kernel ends a server with the *thread* that started it, so that thread must live as long as the servers should.
        self._starter = ThreadPoolExecutor(max_workers=1, thread_name_prefix="control-plane")
        self.ca, self._data = home / "pki" / "ca.crt", home / "etcd"
        pki.make(home / "pki")
        self._http = httpx.Client(verify=ssl.create_default_context(cafile=str(self.ca)), trust_env=False, timeout=30)
        self.admin = Identity("admin", secrets.token_hex(16), home / "admin.kubeconfig")
        self.operator = Identity(OPERATOR, secrets.token_hex(16), home / "operator.kubeconfig")
        tokens = [f'{self.admin.token},admin,admin,"system:masters"', f"{self.operator.token},{OPERATOR},{OPERATOR}"]
        pki.write(home / "tokens.csv", "\n".join(tokens) + "\n")

    @property
    def api_url(self) -> str:
        return f"https://127.0.0.1:{self.api_port}"

    # --- start and stop -------------------------------------------------------------------------------------------------------

    def start(self, fill: Callable[[Path], None] = lambda data: None) -> None:
        """Both servers, until the API server is ready. `fill` may make etcd's directory, whose path it gets, for which it holds nothing
        otherwise. Raises AssertionError with the end of the API server's log when it is not ready."""
        for attempt in range(3):
            fill(self._data)
            # Between asking for free ports and taking them, somebody else may have taken them.
            self.etcd_port, peer, self.api_port = _free_ports(3)
            self._start_etcd(peer)
            self._start_api()
            if self._await_ready():
                break
            assert attempt < 2, f"no API server after three attempts: {self.log('etcd')}\n{self.log('kube-apiserver')}"
            self.close_servers()
            shutil.rmtree(self._data, ignore_errors=True)
        for one in (self.admin, self.operator):
            pki.write(one.kubeconfig, json.dumps(self._kubeconfig(one, "default")))

    @contextlib.contextmanager
    def etcd_at_rest(self) -> Iterator[Path]:
        """Within it etcd does nothing. The directory of its data."""
        etcd = self._processes["etcd"]
        etcd.send_signal(signal.SIGSTOP)
        try:
            os.waitid(os.P_PID, etcd.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            yield self._data
        finally:
            etcd.send_signal(signal.SIGCONT)

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
        """End both, by their pids, and at once: nobody wants what they hold, and a polite API server takes a second for its farewell."""
        for name in ("kube-apiserver", "etcd"):
            self._end(name, signal.SIGKILL)

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
        kubeconfig = str((identity or self.admin).kubeconfig)
        env = {"PATH": os.defpath, "HOME": str(self.home), "COLUMNS": str(columns), "KUBECONFIG": kubeconfig, **frugal.OF_COMMANDS}
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

    def watch(self, path: str, seconds: float) -> Iterator[Any]:
        """What is there, and what comes of each change, for so long. `path` has a query. Raises httpx.TransportError."""
        asked = f"{self.api_url}{path}&watch=true&timeoutSeconds={max(1, round(seconds))}"
        headers = {"Authorization": f"Bearer {self.admin.token}"}
        with self._http.stream("GET", asked, headers=headers, timeout=seconds + 10) as answer:
            for line in answer.iter_lines():
                told = json.loads(line)
                assert told["type"] != "ERROR", told
                if told["type"] != "DELETED":  # which tells what was there last
                    yield told["object"]

    def install_crds(self) -> None:
        """Our kinds, until each can be listed. Applying them again is harmless."""
        self.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
        shutil.rmtree(self.home / "kubectl-cache", ignore_errors=True)  # kubectl believes for hours in what it knew
        self.await_crds()

    def await_crds(self) -> None:
        """Until each of our kinds can be listed."""
        for kind in KINDS:
            path = f"/apis/{GROUP}/{VERSION}/{kind.plural}"
            eventually(partial(self._lists, path), f"{kind.plural} can be listed")

    def _lists(self, path: str) -> bool:
        return self.get(path)[0] == 200

    def install_rbac(self) -> None:
        """The roles of deploy/cluster/rbac.yaml; what is cluster-wide in them is given to the operator, the rest `namespace` gives."""
        for file in ("rbac.yaml", "page.yaml"):
            self.apply(*documents(ROOT / "deploy" / "cluster" / file))
        self.apply(_binding("ClusterRoleBinding", "operator", "reconciler-cluster", None))

    def apply(self, *objects: Mapping[str, Any]) -> None:
        """Server-side apply of objects given as JSON values, as kubectl asks for it, without one: many tests begin with it."""
        for one in objects:
            metadata = one["metadata"]
            path = path_of(one["apiVersion"], f"{one['kind'].lower()}s", metadata.get("namespace", ""), metadata["name"])
            asked = f"{path}?fieldManager=kubectl&force=true"
            status, told = self.request("PATCH", asked, one, content_type="application/apply-patch+yaml")
            if status not in (200, 201):
                raise Failed(f"apply of {one['kind']} {metadata['name']}: {status} {told}")

    def namespace(self, name: str = "") -> Namespace:
        """A new namespace in which the operator may act. `name`: a random one if empty."""
        name = name or f"t-{secrets.token_hex(4)}"
        bindings = (_binding("RoleBinding", binding, role, name) for binding, role in BINDINGS.items())
        self.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}, *bindings)
        return Namespace(self, name)

    # --- inside ---------------------------------------------------------------------------------------------------------------

    def _start_etcd(self, peer: int) -> None:
        clients, peers = f"http://127.0.0.1:{self.etcd_port}", f"http://127.0.0.1:{peer}"
        flags = [
            f"--data-dir={self._data}",
            f"--listen-client-urls={clients}",
            f"--advertise-client-urls={clients}",
            f"--listen-peer-urls={peers}",
            f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}",
            "--unsafe-no-fsync",  # a test's data need not outlive the machine
            "--election-timeout=500",  # it leads after so many milliseconds, as there is nobody else; half a second of every start
            "--log-level=warn",
        ]
        self._spawn("etcd", flags)

    def _start_api(self) -> None:
        keys = self.home / "pki"
        flags = [
            *frugal.SERVER_FLAGS,
            f"--secure-port={self.api_port}",
            f"--etcd-servers=http://127.0.0.1:{self.etcd_port}",
            f"--tls-cert-file={keys / 'server.crt'}",
            f"--tls-private-key-file={keys / 'server.key'}",
            f"--cert-dir={keys}",
            f"--service-account-key-file={keys / 'accounts.key'}",
            f"--service-account-signing-key-file={keys / 'accounts.key'}",
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
                env = {**os.environ, **frugal.OF_SERVERS}
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
            pki.write(path, json.dumps(self._kubeconfig(identity, namespace)))
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

    def apply(self, text: str) -> None:
        """What `kubectl apply` of YAML or JSON text comes to. What is new of our kinds is created by the request that kubectl would send;
        what is there already or is refused, kubectl itself is given, with what comes after it."""
        left = [item for one in yaml.load_all(text, _Strictly) if one is not None for item in one.get("items", [one])]
        while left and self._created(left[0]):
            del left[0]
        if left:
            self.kubectl("apply", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": left}))

    def _created(self, document: Any) -> bool:
        if not isinstance(document, dict) or document.get("apiVersion") != f"{GROUP}/{VERSION}" or document.get("kind") not in OURS:
            return False
        metadata = {**document["metadata"], "namespace": document["metadata"].get("namespace", self.name)}
        metadata["annotations"] = dict(metadata.get("annotations") or {})
        content = {**document, "metadata": metadata}
        metadata["annotations"][_LAST_APPLIED] = json.dumps(content, sort_keys=True, separators=(",", ":")) + "\n"
        path = path_of(document["apiVersion"], OURS[document["kind"]], metadata["namespace"])
        return self.plane.request("POST", f"{path}?fieldManager=kubectl-client-side-apply&fieldValidation=Strict", content)[0] == 201

    def _path(self, kind: str) -> str:
        """Where its objects are, for the words above."""
        return path_of(*_KNOWN[kind], self.name)

    def get(self, kind: str, name: str) -> dict[str, Any]:
        """One object as the server has it. `kind`: any word kubectl knows. Without a kubectl where it can be: tests ask often."""
        if kind in _KNOWN:
            return self._asked("GET", f"{self._path(kind)}/{name}")
        found: dict[str, Any] = json.loads(self.kubectl("get", kind, name, "-o", "json"))
        return found

    def list(self, kind: str) -> list[dict[str, Any]]:
        """As `get`, all that there are; of several kinds, for words with a comma between them."""
        if all(word in _KNOWN for word in kind.split(",")):
            return [item for word in kind.split(",") for item in self._asked("GET", self._path(word))["items"]]
        items: list[dict[str, Any]] = json.loads(self.kubectl("get", kind, "-o", "json"))["items"]
        return items

    def set_status(self, kind: str, name: str, status: Mapping[str, Any]) -> None:
        """Merge `status` into the object's, through the status subresource (for tests that play the controller)."""
        self._asked("PATCH", f"{self._path(kind)}/{name}/status", {"status": status}, "application/merge-patch+json")

    def wait(self, what: str, condition: str, seconds: float = 60.0) -> None:
        """As `kubectl wait --for=condition=…` of one object of ours (`lt/ada`): until it is true of the generation that is there."""
        kind, _, name = what.partition("/")
        self.get(kind, name)  # who is not there is not waited for
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:  # the server may end a watch before its time
            for one in self.plane.watch(f"{self._path(kind)}?fieldSelector=metadata.name%3D{name}", left):
                if _is_true(one, condition):
                    return
        raise Failed(f"{what} was not {condition} within {seconds} seconds: {self.get(kind, name).get('status')}")

    def _asked(self, method: str, path: str, content: Any = None, content_type: str = "application/json") -> dict[str, Any]:
        status, told = self.plane.request(method, path, content, content_type=content_type)
        if status != 200:
            raise Failed(f"{method} {path}: {status} {told}")
        assert isinstance(told, dict)
        return told


def _is_true(one: Mapping[str, Any], condition: str) -> bool:
    """As kubectl judges it: of the generation that is there."""
    status, generation = one.get("status", {}), one["metadata"]["generation"]
    found = next((known for known in status.get("conditions", []) if known["type"] == condition), {"status": "Unknown"})
    return found["status"] == "True" and bool(found.get("observedGeneration", status.get("observedGeneration", generation)) >= generation)


@contextlib.contextmanager
def running(assets: Assets, flags: Sequence[str] = (), fill: Callable[[Path], None] = lambda data: None) -> Iterator[ControlPlane]:
    """A started control plane, without our kinds unless `fill` brings them (see `ControlPlane.start`); ended and removed in the end."""
    with tempfile.TemporaryDirectory(prefix="reconciler-kube-", ignore_cleanup_errors=True) as home:
        plane = ControlPlane(assets, Path(home), flags)
        try:
            plane.start(fill)
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
