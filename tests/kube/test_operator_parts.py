"""Parts of Kubernetes mode that need no cluster."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from reconciler.app import engine_over
from reconciler.cluster import Scope, installed, scope_of
from reconciler.config import Config
from reconciler.core.snapshot.local import Hosting
from reconciler.engine.backend import NullBackend
from reconciler.errors import (
    Conflict,
    Forbidden,
    NotFound,
    RateLimited,
    ReconcilerError,
    Refused,
    Rejected,
    Unauthorized,
    Unreachable,
    UsageError,
)
from reconciler.sources.kube import access, raw
from reconciler.sources.kube.access import load, own_namespace
from reconciler.sources.kube.client import Gone, failed
from reconciler.store.sqlstore import open_store

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: one
clusters:
- {name: here, cluster: {server: "http://127.0.0.1:1/"}}
- {name: sni, cluster: {server: "http://127.0.0.1:1", tls-server-name: elsewhere}}
users:
- {name: token, user: {token: secret-token}}
- {name: basic, user: {username: me, password: secret-word}}
- {name: file, user: {tokenFile: token.txt}}
- {name: plugin, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: sh, args: [-c, PLUGIN]}}}
- {name: old, user: {auth-provider: {name: gcp}}}
contexts:
- {name: one, context: {cluster: here, user: token, namespace: team}}
- {name: basic, context: {cluster: here, user: basic}}
- {name: file, context: {cluster: here, user: file}}
- {name: plugin, context: {cluster: here, user: plugin}}
- {name: old, context: {cluster: here, user: old}}
- {name: sni, context: {cluster: sni, user: token}}
- {name: lost, context: {cluster: nowhere, user: token}}
"""


@pytest.fixture
def kubeconfig(tmp_path: Path) -> dict[str, str]:
    path = tmp_path / "config"
    script = tmp_path / "plugin.sh"
    script.write_text("""case "$KUBERNETES_EXEC_INFO" in *ExecCredential*) echo '{"status": {"token": "from-plugin"}}' ;; esac\n""")
    path.write_text(KUBECONFIG.replace("[-c, PLUGIN]", f"[{script}]"))
    (tmp_path / "token.txt").write_text("from-file\n")
    return {"KUBECONFIG": str(path), "KUBERNETES_SERVICE_HOST": "not used when a kubeconfig is named"}


async def test_every_form_of_identity_makes_its_header(kubeconfig: dict[str, str], tmp_path: Path) -> None:
    one = load("", kubeconfig)
    assert (one.server, one.namespace) == ("http://127.0.0.1:1", "team")
    assert await one.headers() == {"Authorization": "Bearer secret-token"}
    assert "secret" not in repr(one)
    basic = base64.b64encode(b"me:secret-word").decode()
    assert await load("basic", kubeconfig).headers() == {"Authorization": f"Basic {basic}"}
    from_file = load("file", kubeconfig)
    assert await from_file.headers() == {"Authorization": "Bearer from-file"}
    (tmp_path / "token.txt").write_text("newer\n")
    assert await from_file.headers() == {"Authorization": "Bearer from-file"}
    assert await from_file.headers(fresh=True) == {"Authorization": "Bearer newer"}, "a refused token is read again"
    assert await load("plugin", kubeconfig).headers() == {"Authorization": "Bearer from-plugin"}


@pytest.mark.guarantee("G-60")
@pytest.mark.parametrize(
    ("context", "says"),
    [("none", "known: basic"), ("lost", "cluster 'nowhere'"), ("old", "`auth-provider` is not supported"), ("sni", "`tls-server-name`")],
)
def test_what_is_wrong_with_a_kubeconfig_is_named(kubeconfig: dict[str, str], context: str, says: str) -> None:
    with pytest.raises(UsageError) as error:
        load(context, kubeconfig)
    assert says in str(error.value)
    assert "secret" not in str(error.value)


def test_no_kubeconfig_is_said(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no kubeconfig"):
        load("", {"HOME": str(tmp_path)})


@pytest.mark.parametrize(
    ("status", "kind"),
    [(401, Unauthorized), (403, Forbidden), (404, NotFound), (409, Conflict), (410, Gone), (422, Rejected), (500, Unreachable)],
)
def test_an_answer_means_an_error(status: int, kind: type[ReconcilerError]) -> None:
    error = failed(status, b'{"kind": "Status", "message": "said so"}', "GET /x", {})
    assert type(error) is kind
    assert status == 401 or "said so" in str(error)
    assert type(failed(status, b"<html>", "GET /x", {})) is kind


def test_the_server_says_how_long_to_wait() -> None:
    error = failed(429, b"{}", "GET /x", {"Retry-After": "7"})
    assert isinstance(error, RateLimited)
    assert error.retry_after == 7.0


def test_what_a_spec_refers_to_is_found_wherever_it_stands() -> None:
    spec: raw.Json = {
        "env": [{"name": "A", "valueFrom": {"secretKeyRef": {"name": "one", "key": "k"}}}],
        "promptFrom": {"configMapKeyRef": {"name": "two", "key": "k"}},
        "role": "secretKeyRef",
    }
    assert sorted(raw.references(spec)) == [("configmaps", "two"), ("secrets", "one")]


def test_scopes_of_one_fleet_share_a_lease() -> None:
    assert scope_of(["b,a", "b"], False, "x") == Scope(("b", "a"))
    assert scope_of(["b", "a"], False, "x").home == scope_of(["a", "b"], False, "x").home == "a"
    assert scope_of(None, False, "x") == Scope(("x",))
    assert scope_of(None, True, "x").home == "reconciler", "as the one that deploy/ makes"
    meeting = [scope_of(["b"], False, "x", "ops"), scope_of(["a", "b"], False, "x", "ops"), scope_of(None, True, "x", "ops")]
    assert [scope.home for scope in meeting] == ["ops"] * 3
    assert [scope.serves for scope in meeting] == ["b", "a,b", "*"]
    for words, lease in ((["../kube-system"], ""), (["a"], "B"), (["a" * 64], "")):
        with pytest.raises(UsageError):
            scope_of(words, False, "x", lease)


def test_a_pod_knows_its_namespace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the downward API, else by its service account, which is there only where `load` would use it."""
    pod = {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}
    assert own_namespace(environ={}) == ""
    assert own_namespace(environ=pod) == ""
    monkeypatch.setattr(access, "ACCOUNT", tmp_path)
    (tmp_path / "token").write_text("t")
    (tmp_path / "namespace").write_text("ops\n")
    assert own_namespace(environ=pod) == "ops"
    assert own_namespace(environ={**pod, "POD_NAMESPACE": "told"}) == "told"
    assert own_namespace("somewhere", pod) == ""
    assert own_namespace(environ={**pod, "KUBECONFIG": "file"}) == ""
    assert own_namespace(environ={}) == ""


@pytest.mark.guarantee("G-07")
async def test_a_store_of_another_cluster_is_refused(tmp_path: Path) -> None:
    store = open_store(tmp_path / "state.db", inline=True)
    try:
        assert await installed(store, "cluster", Scope(("team",))) == "cluster/team"
        assert await installed(store, "cluster", Scope(("team",))) == "cluster/team"
        with pytest.raises(Refused, match="another fleet"):
            await installed(store, "other", Scope(("team",)))
    finally:
        await store.aclose()


@pytest.mark.parametrize("allowed", [False, True])
async def test_no_agent_runs_where_an_operator_does(tmp_path: Path, allowed: bool) -> None:
    """The host of an operator is a container of the cluster: `placement.type: Local` is refused there, whatever was allowed."""
    store = open_store(tmp_path / "state.db", inline=True)
    try:
        config = Config(state=tmp_path, allow_local=allowed)
        async with engine_over(config, store, "cluster/team", backend=NullBackend()) as engine:
            assert engine.settings.hosting is Hosting.UNAVAILABLE
        async with engine_over(config, store, "uuid") as engine:
            assert (engine.settings.hosting is Hosting.ALLOWED) is allowed
    finally:
        await store.aclose()
