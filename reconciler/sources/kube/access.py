"""How to reach an API server and who we are there: a kubeconfig context, or the service account of the pod we run in."""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import os
import ssl
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from reconciler import children, paths
from reconciler.errors import Unauthorized, UsageError
from reconciler.paths import Absent, Present, Unreadable

ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
TOKEN_SECONDS = 60.0
"""A token file is read again after this long: the kubelet replaces it while we run."""
EXEC_SECONDS = 60.0
EXEC_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")

Node = Mapping[str, object]


@dataclass(slots=True)
class Access:
    """One API server and one identity. `token`: static; `token_file` and `plugin` (a kubeconfig's `exec`) give one that changes."""

    server: str
    namespace: str
    tls: ssl.SSLContext | None
    proxy: str | None = None
    token: str = field(default="", repr=False)
    token_file: Path | None = None
    basic: str = field(default="", repr=False)
    plugin: Node | None = field(default=None, repr=False)
    _cached: str = field(default="", repr=False)
    _until: float = 0.0

    async def headers(self, *, fresh: bool = False) -> dict[str, str]:
        """What proves who we are. `fresh`: the last answer was refused (401). Raises `Unauthorized` when nothing can be had."""
        if self.basic:
            return {"Authorization": f"Basic {self.basic}"}
        if self.token_file is None and self.plugin is None:
            return {"Authorization": f"Bearer {self.token}"} if self.token else {}
        if fresh or not self._cached or time.monotonic() >= self._until:
            self._until = time.monotonic() + TOKEN_SECONDS
            self._cached = self._read_token() if self.token_file is not None else await self._ask_plugin()
        return {"Authorization": f"Bearer {self._cached}"}

    def _read_token(self) -> str:
        assert self.token_file is not None
        try:
            return self.token_file.read_text("ascii").strip()
        except (OSError, UnicodeError):
            raise Unauthorized("the token of the service account can't be read", str(self.token_file), "check the pod's mounts") from None

    async def _ask_plugin(self) -> str:
        """Run the credential plugin of the kubeconfig, as an argument list, and take the token it prints."""
        assert self.plugin is not None
        command, version = str(self.plugin.get("command", "")), str(self.plugin.get("apiVersion", ""))
        where = f"credential plugin {command}"
        if version not in EXEC_VERSIONS:
            raise UsageError(f"its protocol {version!r} is not known", where, f"use one of {', '.join(EXEC_VERSIONS)}")
        info = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
        environ = {**os.environ, "KUBERNETES_EXEC_INFO": json.dumps(info)}
        for pair in _nodes(self.plugin.get("env")):
            environ[str(pair.get("name", ""))] = str(pair.get("value", ""))
        args = self.plugin.get("args")
        try:
            process = await children.start([command, *map(str, args if isinstance(args, list) else [])], environ, stdout=children.PIPE)
        except OSError as error:
            raise Unauthorized("it can't be run", where, (error.strerror or "install it").lower()) from None
        try:
            async with asyncio.timeout(EXEC_SECONDS):
                told, _ = await process.communicate()
        except TimeoutError:
            process.kill()
            raise Unauthorized("it does not answer", where, "run it by hand to see why") from None
        token = _token_of(told)
        if process.returncode or not token:
            raise Unauthorized("it gave no token", where, "run it by hand to see why")
        return token


def _token_of(told: bytes) -> str:
    try:
        status = json.loads(told)["status"]
        return str(status.get("token") or "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""


def load(context: str = "", environ: Mapping[str, str] | None = None) -> Access:
    """`context` of a kubeconfig ('' means the current one). Without a context and without KUBECONFIG, inside a pod: its service
    account. Raises `UsageError` saying which file or entry is missing or wrong."""
    env = os.environ if environ is None else environ
    if _is_pod(context, env):
        return _in_pod(env)
    named = env.get("KUBECONFIG") or str(Path(env.get("HOME", "~")).expanduser() / ".kube" / "config")
    for file in (Path(part) for part in named.split(os.pathsep) if part):
        match paths.look(file):
            case Present():
                return _from_file(file, context)
            case Unreadable(why):
                raise UsageError(f"the kubeconfig can't be read: {why}", str(file), "correct its permissions, or name another one")
            case Absent():
                continue
    raise UsageError("there is no kubeconfig", named, "set KUBECONFIG, or run inside a cluster")


def own_namespace(context: str = "", environ: Mapping[str, str] | None = None) -> str:
    """The namespace of the pod we run in: `POD_NAMESPACE` (downward API), else that of the service account that `load` would use; ''
    outside of a cluster."""
    env = os.environ if environ is None else environ
    if env.get("POD_NAMESPACE"):
        return env["POD_NAMESPACE"]
    return _account_namespace() if _is_pod(context, env) else ""


def _account_namespace() -> str:
    try:
        return (ACCOUNT / "namespace").read_text("ascii").strip()
    except (OSError, UnicodeError):
        raise UsageError("the namespace of the service account can't be read", str(ACCOUNT), "check the pod's mounts") from None


def _is_pod(context: str, env: Mapping[str, str]) -> bool:
    return bool(
        not context
        and not env.get("KUBECONFIG")
        and env.get("KUBERNETES_SERVICE_HOST")
        and not isinstance(paths.look(ACCOUNT / "token"), Absent)
    )


def _in_pod(env: Mapping[str, str]) -> Access:
    host, port = env["KUBERNETES_SERVICE_HOST"], env.get("KUBERNETES_SERVICE_PORT", "443")
    address = f"[{host}]" if ":" in host else host
    return Access(
        server=f"https://{address}:{port}",
        namespace=_account_namespace(),
        tls=ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt")),
        token_file=ACCOUNT / "token",
    )


def _from_file(file: Path, wanted: str) -> Access:
    try:
        document = YAML(typ="safe", pure=True).load(file)
    except (OSError, YAMLError, UnicodeError):  # without the parser's words: they may quote a token
        raise UsageError("the kubeconfig can't be read", str(file), "correct it, or name another one with KUBECONFIG") from None
    if not isinstance(document, dict):
        raise UsageError("the kubeconfig is no map", str(file), "correct it, or name another one with KUBECONFIG")
    name = wanted or str(document.get("current-context") or "")
    if not name:
        raise UsageError("the kubeconfig has no current context", str(file), "name one with --context")
    context = _entry(document, "contexts", "context", name, file)
    cluster = _entry(document, "clusters", "cluster", str(context.get("cluster", "")), file)
    user = _entry(document, "users", "user", str(context["user"]), file) if context.get("user") else {}
    for node, keys in ((cluster, ("tls-server-name",)), (user, ("auth-provider", "as"))):
        for key in keys:
            if node.get(key):
                raise UsageError(f"`{key}` is not supported", f"{file}, context {name}", "use a context without it")
    basic = ""
    if user.get("username") and user.get("password"):
        basic = base64.b64encode(f"{user['username']}:{user['password']}".encode()).decode()
    server = str(cluster.get("server", ""))
    plugin = user.get("exec")
    return Access(
        server=server.rstrip("/"),
        namespace=str(context.get("namespace") or "default"),
        tls=_tls(cluster, user, file) if server.startswith("https:") else None,
        proxy=str(cluster["proxy-url"]) if cluster.get("proxy-url") else None,
        token=str(user.get("token") or ""),
        token_file=file.parent / str(user["tokenFile"]) if user.get("tokenFile") else None,
        basic=basic,
        plugin=plugin if isinstance(plugin, dict) else None,
    )


def _tls(cluster: Node, user: Node, file: Path) -> ssl.SSLContext:
    try:
        data = cluster.get("certificate-authority-data")
        named = cluster.get("certificate-authority")
        tls = ssl.create_default_context(
            cafile=str(file.parent / str(named)) if named and not data else None,
            cadata=base64.b64decode(str(data)).decode("ascii") if data else None,
        )
        if cluster.get("insecure-skip-tls-verify") is True:
            tls.check_hostname = False
            tls.verify_mode = ssl.CERT_NONE
        with ExitStack() as stack:
            pair = [_pem(stack, user, name, file) for name in ("client-certificate", "client-key")]
            if pair[0] and pair[1]:
                tls.load_cert_chain(pair[0], pair[1])
        return tls
    except (OSError, ValueError, binascii.Error):  # also ssl.SSLError; without its words: they may quote a key
        raise UsageError("a certificate or key can't be read", str(file), "correct the kubeconfig") from None


def _pem(stack: ExitStack, user: Node, name: str, file: Path) -> str:
    """Path of a PEM file; data in the kubeconfig is in a file of our own (0600) for the moment of loading it."""
    data = user.get(f"{name}-data")
    if data:
        temporary = stack.enter_context(tempfile.NamedTemporaryFile(buffering=0))  # noqa: SIM115  # the stack closes it
        temporary.write(base64.b64decode(str(data)))
        return temporary.name
    return str(file.parent / str(user[name])) if user.get(name) else ""


def _nodes(value: object) -> list[Node]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _entry(document: Node, section: str, inner: str, name: str, file: Path) -> Node:
    found = next((one.get(inner) for one in _nodes(document.get(section)) if one.get("name") == name), None)
    if not isinstance(found, dict):
        known = ", ".join(sorted(str(one.get("name")) for one in _nodes(document.get(section)))) or "none"
        raise UsageError(f"{inner} {name!r} is not in the kubeconfig", str(file), f"known: {known}")
    return found
