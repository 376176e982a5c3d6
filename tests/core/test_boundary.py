"""What a declared sandbox comes to, and what it can't be."""

from __future__ import annotations

import pytest

from reconciler.api.parsing import load_spec
from reconciler.api.sandbox import Sandbox, guards
from reconciler.core.governance.boundary import Boundary, boundary_of, flaw_of
from reconciler.errors import InvalidSpec

URLS = {"own": "https://models.internal/v1", "near": "http://127.0.0.1:11434/v1", "six": "http://[::1]:8080/v1"}


def sandbox(**fields: object) -> Sandbox:
    loaded = load_spec("BootProfile", {"source": {"image": "default"}, "sandbox": fields})  # type: ignore[dict-item]
    found: Sandbox = loaded.sandbox  # type: ignore[attr-defined]
    return found


@pytest.mark.parametrize(
    ("providers", "reached"),
    [
        (["anthropic"], ("a.example:1", "api.anthropic.com:443")),
        (["own"], ("a.example:1", "models.internal:443")),
        (["near", "six"], ("a.example:1", "127.0.0.1:11434", "[::1]:8080")),
        (["amazon-bedrock"], ("a.example:1",)),
        ([""], ("a.example:1",)),
    ],
)
def test_the_address_of_the_model_is_added_where_it_is_known(providers: list[str], reached: tuple[str, ...]) -> None:
    declared = sandbox(network={"allow": ["a.example:1"]})
    assert boundary_of(declared, URLS, providers) == Boundary((), (), reached)


def test_no_network_is_not_the_same_as_none_that_may_be_reached() -> None:
    assert boundary_of(sandbox(), URLS, ["own"]) == Boundary()
    assert boundary_of(sandbox(network={}), URLS, []) == Boundary((), (), ())
    assert Boundary().hash != Boundary((), (), ()).hash
    assert boundary_of(None, URLS, ["own"]) is None


@pytest.mark.guarantee("G-28")
@pytest.mark.parametrize(
    "path",
    [
        "/root",
        "/root/.pi",
        "/root/.pi/agent",
        "/root/.pi/agent/skills",
        "/var",
        "/var/lib/reconciler",
        "/etc",
        "/etc/cron.d",
        "/usr/local",
        "/run/x",
    ],
)
def test_a_place_from_which_the_guard_can_be_changed_is_refused(path: str) -> None:
    assert guards(path)
    with pytest.raises(InvalidSpec, match="must not be the home"):
        sandbox(fs={"writable": [path]})
    assert path in flaw_of(sandbox(), path)


@pytest.mark.parametrize(
    "path", ["/root/workspace", "/root/.cache", "/srv", "/var/cache/x", "/rootless", "/var/lib/reconciler-data", "/etcetera"]
)
def test_other_places_are_not(path: str) -> None:
    assert sandbox(fs={"writable": [path]}).fs.writable == (path,)
    assert flaw_of(sandbox(), path) == ""


@pytest.mark.parametrize(
    "entry", ["example.com", "example.com:0", "https://example.com:443", "*:443", "a b:1", "*.*.com:1", "x:123456", ":443"]
)
def test_what_is_no_host_with_a_port_is_refused(entry: str) -> None:
    with pytest.raises(InvalidSpec, match="must be HOST:PORT"):
        sandbox(network={"allow": [entry]})


def test_on_the_controllers_host_it_writes_in_its_own_tree_and_sees_neither_ones_secrets() -> None:
    made = Boundary(("/srv",), ("/root/.ssh",), None).in_tree("/state/a/tree")
    assert made == Boundary(("/state/a/tree/srv",), ("/root/.ssh", "/state/a/tree/root/.ssh"), None)
