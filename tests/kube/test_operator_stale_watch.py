"""Whatever becomes of the watch, the operator hears of changes again, and says what is missing meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.cluster import front_of
from reconciler.sources.kube import controller as kube_controller
from reconciler.sources.kube import watching
from reconciler.sources.kube.watching import Watch
from tests.kube.controlplane import ROOT, ControlPlane, Namespace
from tests.kube.operating import Person, RealTime, charge, until
from tests.kube.test_operator import LIEUTENANT


@pytest.mark.real("kube")
@pytest.mark.slow
@pytest.mark.guarantee("G-66")
@pytest.mark.parametrize("what", [("crd", "lieutenants.fleet.vers.sh"), ("-f", str(ROOT / "crds"))], ids=["one", "all"])
async def test_kinds_go_while_all_is_quiet_and_come_back(
    private_plane_with_kinds: ControlPlane, tmp_path: Path, world: RealTime, what: tuple[str, str]
) -> None:
    """They are away for so long that the watch has begun anew without them; it hears of them all the same when they are back."""
    cluster = private_plane_with_kinds.namespace()
    person = Person(cluster)
    said: list[str] = []
    async with charge(cluster, tmp_path, world) as operator:
        operator.kube_controller._tell = said.append
        await person.apply(LIEUTENANT)
        await person.wait("lt/ada", "Available")
        await asyncio.sleep(4.0)  # the watches of the other kinds are open and silent
        await person.kubectl("delete", *what, "--timeout=60s")
        await asyncio.sleep(12.0)
        await person.kubectl("apply", "--server-side", "-f", str(ROOT / "crds"))
        await asyncio.sleep(4.0)
        await person.apply(LIEUTENANT)
        await person.wait("lt/ada", "Available", 45.0)
        assert operator.kube_controller.watch_restarts > 0
        waiting = [line for line in said if line.startswith("waiting: the cluster does not serve ")]
        assert waiting
        assert len(said) <= 2 * len(waiting), "once for every kind that is missing, not at every look"
        assert "the cluster serves every kind again" in said
        assert operator.kube_controller.watching()


@pytest.mark.real("kube")
@pytest.mark.guarantee("G-66")
async def test_a_watch_that_keeps_silent_is_found_out(
    cluster: Namespace, tmp_path: Path, world: RealTime, monkeypatch: pytest.MonkeyPatch, logged: Callable[[], str]
) -> None:
    """A stale watch: what a sweep finds and the watch never tells of makes it begin anew."""
    monkeypatch.setattr(kube_controller, "STALE_SECONDS", 2.0)
    person = Person(cluster)
    async with charge(cluster, tmp_path, world) as operator:
        watch = operator.kube_controller._watch
        assert isinstance(watch, Watch)
        await asyncio.sleep(1.0)
        on_event, again = watch._on_event, watch.again

        def anew() -> None:
            watch._on_event = on_event
            again()

        monkeypatch.setattr(watch, "_on_event", lambda kind, obj: None)
        monkeypatch.setattr(watch, "again", anew)
        await person.apply(LIEUTENANT)
        operator.kube_controller._due.set()
        await until(lambda: watch.restarts == 1, "it begins anew")
        assert "the watch did not tell of 1 changes that a sweep found, of Lieutenant/" in logged()
        await person.wait("lt/ada", "Available")

        assert operator.kube_controller._unreported == {}
        assert front_of(operator.kube_controller).watching
        monkeypatch.setattr(watching, "SILENT", -1.0)
        assert not front_of(operator.kube_controller).watching, "no sign of life for too long"


def test_what_will_not_end_is_ended(monkeypatch: pytest.MonkeyPatch, logged: Callable[[], str]) -> None:
    """A part that takes its cancellation for something else goes at the next one; one that takes none at all is dropped, and told."""
    monkeypatch.setattr(watching, "ROUND_SECONDS", 0.01)
    ended: list[str] = []

    async def deaf(times: int) -> None:
        for _ in range(times):
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                continue
        ended.append(f"after {times}")

    async def main() -> None:
        asyncio.create_task(deaf(2), name="hard of hearing")  # noqa: RUF006
        asyncio.create_task(deaf(10**6), name="deaf")  # noqa: RUF006
        await asyncio.sleep(0)
        raise ValueError("why it ended")

    with pytest.raises(ValueError, match="why it ended"):
        watching.alone(main())
    assert ended == ["after 2"]
    assert "1 parts of the watch did not end and were dropped: deaf" in logged()
