"""VersClient and SshPool against the simulated platform, which is written from the reference and not from them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx2 as httpx
import pytest

from reconciler.agent.ssh import SshOptions, SshPool
from reconciler.agent.transport import FixedScript
from reconciler.core.snapshot.machine import BranchSource, CommitSource, RootSource, VmShape
from reconciler.core.snapshot.vm import VmState
from reconciler.errors import (
    Conflict,
    DoubtfulRefusal,
    Forbidden,
    Indeterminate,
    NoRoom,
    NotFound,
    Rejected,
    TimedOut,
    Unauthorized,
    Unreachable,
)
from reconciler.vers.client import Timeouts, VersClient
from reconciler.vers.keys import Settings
from reconciler.vers.simulator.service import Simulator, configure

SHAPE = VmShape(1, 512, 1024)
NOBODY = "11111111-2222-4333-8444-555555555555"


async def at_once(_: float) -> None:
    """Between attempts nothing is waited for."""


@asynccontextmanager
async def simulated(
    *knobs: str, guests: str = "stub", faults: tuple[str, ...] = (), timeouts: Timeouts | None = None, env_too: dict[str, str] | None = None
) -> AsyncIterator[tuple[VersClient, Simulator]]:
    simulator = Simulator()
    endpoints = await simulator.start(configure(guests=guests, knobs=knobs, faults=faults, seed=1))  # type: ignore[arg-type]
    environment = env_too if env_too is not None else {}
    environment.update(endpoints.environment())
    client = VersClient(Settings(environment, Path("/nonexistent")), timeouts=timeouts, sleep=at_once)
    try:
        yield client, simulator
    finally:
        await client.aclose()
        await simulator.stop()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - the simulator has no event for this
            await asyncio.sleep(0.005)


@pytest.mark.parametrize(
    "knobs",
    [
        (),
        ("suspend_dialect=paused", "timestamps=nano", "list_path=vm"),
        ("suspend_dialect=sleeping", "timestamps=offset", "list_path=vms", "extra_fields=yes"),
        ("omit_content_type=yes", "pause_when_paused=400", "resume_when_running=400", "suspended_reads_as=paused"),
        ("delete_missing=404", "metadata_after_delete=tombstone", "status_after_delete=dead"),
    ],
    ids=lambda knobs: ",".join(knobs) or "default",
)
async def test_a_life_of_a_machine_under_every_dialect(knobs: tuple[str, ...]) -> None:
    async with simulated(*knobs) as (client, simulator):
        before = await client.list_vms()
        assert before.server_time is not None
        root = await client.create_vm(RootSource(), SHAPE, {"fleet": "x"}, "intent-1")
        await client.set_labels(root, {"claim": "y"})
        await until(lambda: simulator.world.vms[root].state(simulator.world.clock()) == "running")
        vm = await client.get_vm(root)
        assert (vm.vm_id, vm.owner_id, vm.state, dict(vm.labels)) == (root, client.account(), VmState.RUNNING, {"fleet": "x", "claim": "y"})
        assert abs(vm.created_at - before.server_time) < 60
        assert (await client.list_vms()).vms[root] == vm

        for _ in range(2):  # twice: what is so already is no error
            await client.suspend_vm(root)
            assert (await client.get_vm(root)).state is VmState.SUSPENDED
        for _ in range(2):
            await client.resume_vm(root)
            assert (await client.get_vm(root)).state is VmState.RUNNING

        commit = await client.commit(root, "golden")
        child = await client.create_vm(CommitSource(commit), VmShape(), {}, "intent-2")
        lineage = await client.get_metadata(child)
        assert (lineage.vm_id, lineage.parent_commit_id, lineage.grandparent_vm_id) == (child, commit, root)
        assert (await client.get_metadata(root)).parent_commit_id is None

        copy = await client.create_vm(BranchSource(root), VmShape(), {}, "intent-3")
        lineage = await client.get_metadata(copy)
        assert (lineage.vm_id, lineage.grandparent_vm_id) == (copy, root)
        assert lineage.parent_commit_id not in (None, commit)
        assert (await client.get_vm(root)).state is VmState.RUNNING
        await client.delete_vm(copy)
        with pytest.raises(Conflict):
            await client.delete_commit(commit)
        await client.delete_vm(child)
        await until(lambda: not any(simulator.world.vms[one].exists(simulator.world.clock()) for one in (child, copy)))
        assert set((await client.list_vms()).vms) == {root}
        await client.delete_commit(commit)
        assert commit not in {one.commit_id for one in await client.list_commits()}
        with pytest.raises(NotFound):
            await client.delete_commit(commit)
        assert (await client.ssh_key(root)).get_secret_value().startswith("-----BEGIN")


async def test_what_is_not_there_is_told_as_such() -> None:
    async with simulated() as (client, _):
        for read in (client.get_vm, client.get_metadata, client.ssh_key, client.suspend_vm, client.resume_vm):
            with pytest.raises(NotFound):
                await read(NOBODY)
        with pytest.raises(Forbidden):
            await client.delete_vm(NOBODY)
        with pytest.raises(DoubtfulRefusal, match="commit not found"):
            await client.create_vm(CommitSource(NOBODY), VmShape(), {}, "t")
        with pytest.raises(NotFound):
            await client.resolve_ref("no:such")
        with pytest.raises(DoubtfulRefusal, match="parent vm not found"):
            await client.create_vm(BranchSource(NOBODY), VmShape(), {}, "t")
        with pytest.raises(NotFound):
            await client.commit(NOBODY, "n")


@pytest.mark.guarantee("G-02")
@pytest.mark.parametrize("kind", ["reset", "hang", "500", "502", "504", "garbage"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_create_is_sent_once_and_its_doubt_is_told(kind: str, when: str) -> None:
    timeouts = Timeouts(create_root=0.5)
    async with simulated(faults=(f"new_root:1:{when}:{kind}",), timeouts=timeouts) as (client, simulator):
        with pytest.raises(Indeterminate):
            await client.create_vm(RootSource(), SHAPE, {"intent": "i"}, "i")
        assert simulator.world.ledger.counts["new_root"] == 1
        seen = await client.list_vms()
        assert len(seen.vms) == (1 if when == "after" else 0)


@pytest.mark.guarantee("G-06")
@pytest.mark.parametrize(
    ("kind", "expected"),
    [("netlink", NoRoom), ("ceph", NoRoom), ("quota", NoRoom), ("503", NoRoom)],
)
async def test_no_room_is_told_and_nothing_else_is_touched(kind: str, expected: type[Exception]) -> None:
    async with simulated(faults=(f"create:1:{kind}",)) as (client, _):
        with pytest.raises(expected):
            await client.create_vm(RootSource(), SHAPE, {}, "t")
        assert (await client.list_vms()).vms == {}
        assert await client.create_vm(RootSource(), SHAPE, {}, "t")


async def test_a_reference_is_resolved_to_the_commit_that_its_tag_has() -> None:
    told: dict[str, str] = {}
    async with simulated(env_too=told) as (client, _):
        commit_id = await client.commit(await client.create_vm(RootSource(), SHAPE, {}, "t"), "n")
        base, headers = f"{told['VERS_BASE_URL']}/api/v1", {"Authorization": f"Bearer {told['VERS_API_KEY']}"}
        async with httpx.AsyncClient(base_url=base, headers=headers) as api:
            (await api.post("/repositories", json={"name": "golden"})).raise_for_status()
            for name, commit in (("v1", commit_id), ("empty", commit_id)):
                (await api.post("/repositories/golden/tags", json={"tag_name": name, "commit_id": commit})).raise_for_status()
            (await api.patch("/repositories/golden/tags/empty", json={"commit_id": None})).raise_for_status()
        assert await client.resolve_ref("golden:v1") == commit_id
        for gone in ("golden:v2", "other:v1", "golden:empty"):
            with pytest.raises(NotFound):
                await client.resolve_ref(gone)


async def test_a_quota_is_no_room() -> None:
    async with simulated("quota=1") as (client, _):
        await client.create_vm(RootSource(), SHAPE, {}, "t1")
        with pytest.raises(NoRoom, match="quota"):
            await client.create_vm(RootSource(), SHAPE, {}, "t2")


@pytest.mark.guarantee("G-03")
@pytest.mark.parametrize(
    ("kind", "error"), [("500", Unreachable), ("503", Unreachable), ("403", Unauthorized), ("reset", Unreachable), ("hang", TimedOut)]
)
async def test_a_platform_that_fails_at_everything_says_nothing_about_vms(kind: str, error: type[Exception]) -> None:
    async with simulated(timeouts=Timeouts(read=0.3, delete=0.3)) as (client, simulator):
        vm_id = await client.create_vm(RootSource(), SHAPE, {}, "t")
        simulator.add_fault(f"*:*:{kind}")
        for call in (client.list_vms(), client.get_vm(vm_id), client.get_metadata(vm_id), client.delete_vm(vm_id)):
            with pytest.raises(error):
                await call
        simulator.clear_faults()
        assert vm_id in (await client.list_vms()).vms


async def test_passing_trouble_is_got_over() -> None:
    async with simulated(faults=("list_vms:1:500", "list_vms:2:429", "delete_vm:1-2:503")) as (client, _):
        vm_id = await client.create_vm(RootSource(), SHAPE, {}, "t")
        assert vm_id in (await client.list_vms()).vms
        await client.delete_vm(vm_id)
        assert (await client.list_vms()).vms == {}


async def test_an_expired_key_is_unauthorized() -> None:
    async with simulated("key_state=expired") as (client, _):
        with pytest.raises(Unauthorized):
            await client.list_vms()


async def test_a_bad_shape_is_rejected() -> None:
    async with simulated() as (client, _):
        with pytest.raises(Rejected):
            await client.create_vm(RootSource(), VmShape(vcpus=-1), {}, "t")


async def test_machines_are_reached_by_ssh_through_the_gateway() -> None:
    async with simulated(guests="process") as (client, simulator):
        vm_id = await client.create_vm(RootSource(), SHAPE, {}, "t")
        await until(lambda: simulator.world.vms[vm_id].state(simulator.world.clock()) == "running")
        pool = SshPool(client, SshOptions())
        try:
            transport = await pool.get(vm_id)
            result = await transport.run(FixedScript("cat; echo there >&2; exit 4"), b"'$(data)'\n")
            assert (result.exit_code, result.stdout, result.stderr) == (4, b"'$(data)'\n", b"there\n")
            await client.delete_vm(vm_id)
            await until(lambda: transport.closed)
        finally:
            await pool.aclose()
