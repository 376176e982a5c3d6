"""A real Kubernetes API server for the tests of this directory. How to use it:

- `cluster`: a namespace of the test's own on the session's server, our kinds installed. `cluster.apply(text)`, `cluster.get("lt", "ada")`,
  `cluster.wait("lt/ada", "Ready")`, `cluster.kubectl("describe", …)`; `cluster.name` is the namespace, `cluster.plane` the server.
- `control_plane`: that server. `.operator.kubeconfig` is the file for the program under test: its user has the rights of
  deploy/cluster/rbac.yaml in the namespaces that `cluster` made; `.admin` is the person at the keyboard.
  `restart_api(crash=True)` and `with api_down():` for bad days: the session's server is shared, so it is up again when the test ends.
- `world`: the platform and its machines, a double; `operating.charge` puts an operator between it and the cluster.
- `private_plane`: a server for one test alone (a slow one then), without our kinds (`install_crds()`, `install_rbac()`);
  `private_plane_with_kinds` has them, and the roles.

One server a worker under xdist. Nothing is built here: `make kube-assets` does that; where the programs are missing the tests are skipped
with the reason, and in CI they fail. Mark tests with `@pytest.mark.real("kube")`.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import pytest

from tests.kube.assets import Assets, Missing, find, find_helm
from tests.kube.controlplane import ControlPlane, Namespace, path_of, running
from tests.kube.operating import RealTime
from tests.kube.prepared import with_kinds

T = TypeVar("T")


def pytest_itemcollected(item: pytest.Item) -> None:
    """A test for which another server is started than the worker's costs seconds of a processor before it begins, so it is a slow one."""
    needed = {*getattr(item, "fixturenames", ())}
    if {"private_plane", "private_plane_with_kinds"} & needed or ("kube_assets" in needed and "control_plane" not in needed):
        item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def kube_assets() -> Assets:
    """The programs. Skips, saying why, where there are none; fails in CI."""
    return there(find)


@pytest.fixture(scope="session")
def helm_program(kube_assets: Assets) -> Path:
    """Helm; skips and fails as `kube_assets`."""
    return there(find_helm)


def there(look: Callable[[Mapping[str, str]], T]) -> T:
    try:
        return look(os.environ)
    except Missing as why:
        if os.environ.get("CI"):
            pytest.fail(str(why))
        pytest.skip(str(why))


@pytest.fixture(scope="session")
def room_of_the_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that all workers of this run share, and no other run."""
    mine = tmp_path_factory.getbasetemp()
    return mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine


@pytest.fixture(scope="session")
def control_plane(kube_assets: Assets, room_of_the_run: Path) -> Iterator[ControlPlane]:
    """The session's API server, with our kinds and roles."""
    with with_kinds(kube_assets, room_of_the_run) as plane:
        yield plane


@pytest.fixture
def private_plane_with_kinds(kube_assets: Assets, room_of_the_run: Path) -> Iterator[ControlPlane]:
    """An API server for this test alone, with our kinds and roles."""
    with with_kinds(kube_assets, room_of_the_run) as plane:
        yield plane


@pytest.fixture
def private_plane(kube_assets: Assets) -> Iterator[ControlPlane]:
    """An API server for this test alone, with nothing in it."""
    with running(kube_assets) as plane:
        yield plane


@pytest.fixture
def cluster(control_plane: ControlPlane) -> Iterator[Namespace]:
    """A namespace for this test alone. Its Leases go: one that says nothing of namespaces is an operator of every other test's, too."""
    made = control_plane.namespace()
    yield made
    status, told = control_plane.request("DELETE", path_of("coordination.k8s.io/v1", "leases", made.name))
    assert status == 200, told


@pytest.fixture
async def world() -> AsyncIterator[RealTime]:
    """A platform and machines in real time, in which nothing forbidden may have happened when the test ends."""
    made = RealTime()
    yield made
    assert made.violations == []


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """What this package has told so far."""
    caplog.set_level("INFO", "reconciler.kube")
    return lambda: "\n".join(record.getMessage() for record in caplog.records if record.name == "reconciler.kube")
