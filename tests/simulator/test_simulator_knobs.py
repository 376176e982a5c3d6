"""Each value of each knob is a platform that may exist; here is how each shows."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx2 as httpx
import pytest

from reconciler.errors import UsageError
from reconciler.vers.simulator.knobs import Knobs, knob_values, turn
from tests.simulator.conftest import Start
from tests.simulator.support import Running, until

Check = Callable[[Running], Awaitable[None]]
FORBIDDEN = {"error": "Forbidden", "success": False}


async def state(s: Running, vm_id: str, word: str) -> httpx.Response:
    return await s.api.patch(f"/vm/{vm_id}/state", json={"state": word})


def dialect(accepted: str, refused: str | None) -> Check:
    async def check(s: Running) -> None:
        vm_id = await s.create()
        assert (await state(s, vm_id, accepted)).status_code == 200
        assert (await state(s, vm_id, "Running")).status_code == 200
        if refused is not None:
            answer = await state(s, vm_id, refused)
            assert answer.status_code == 422
            assert f"state: unknown variant `{refused}`, expected `{accepted}` or `Running`" in answer.text

    return check


def reads(word: str, expected: str) -> Check:
    async def check(s: Running) -> None:
        vm_id = await s.create()
        await state(s, vm_id, word)
        assert await s.state(vm_id) == expected
        assert [row["state"] for row in (await s.api.get("/vms")).json()] == [expected]

    return check


def twice(first: str | None, second: str, status: int) -> Check:
    async def check(s: Running) -> None:
        vm_id = await s.create()
        if first is not None:
            await state(s, vm_id, first)
        assert (await state(s, vm_id, second)).status_code == status

    return check


def delete_suspended(status: int) -> Check:
    async def check(s: Running) -> None:
        vm_id = await s.create()
        await state(s, vm_id, "Paused")
        assert (await s.api.delete(f"/vm/{vm_id}")).status_code == status
        if status != 200:
            assert vm_id in await s.listed()
            await state(s, vm_id, "Running")
            assert (await s.api.delete(f"/vm/{vm_id}")).status_code == 200
        assert vm_id not in await s.listed()

    return check


def after_delete(what: str, path: str, status: int, field: dict[str, object]) -> Check:
    async def check(s: Running) -> None:
        vm_id = await s.create()
        await s.api.delete(f"/vm/{vm_id}")
        answer = await (s.api.delete(f"/vm/{vm_id}") if what == "DELETE" else s.api.get(f"/vm/{vm_id}/{path}"))
        assert answer.status_code == status
        assert field.items() <= answer.json().items()
        if path == "metadata" and status == 200:
            assert answer.json()["deleted_at"] is not None

    return check


async def restored(s: Running) -> str:
    vm_id = await s.create(labels={"who": "parent"})
    commit = (await s.api.post(f"/vm/{vm_id}/commit", json={})).json()["commit_id"]
    return str((await s.api.post("/vm/from_commit", json={"commit_id": commit})).json()["vm_id"])


def restores(first: str) -> Check:
    async def check(s: Running) -> None:
        child = await restored(s)
        assert await s.state(child) == first
        s.set_clock(s.now() + 2)
        assert await s.state(child) == "running"

    return check


def inherits(expected: dict[str, str]) -> Check:
    async def check(s: Running) -> None:
        child = await restored(s)
        assert (await s.api.get(f"/vm/{child}/status")).json()["labels"] == expected

    return check


def idempotent(vms: int) -> Check:
    async def check(s: Running) -> None:
        for _ in range(2):
            await s.api.post("/vm/new_root", json={"vm_config": {}}, headers={"X-Idempotency-Key": "k"})
        assert len(await s.listed()) == vms

    return check


def client_commit_id(taken: bool) -> Check:
    async def check(s: Running) -> None:
        vm_id = await s.create()
        wanted = "aaaaaaaa-1111-4222-8333-bbbbbbbbbbbb"
        made = (await s.api.post(f"/vm/{vm_id}/commit", json={"commit_id": wanted})).json()["commit_id"]
        assert (made == wanted) is taken

    return check


def paths(vms: int, vm: int) -> Check:
    async def check(s: Running) -> None:
        assert ((await s.api.get("/vms")).status_code, (await s.api.get("/vm")).status_code) == (vms, vm)

    return check


def internal_commits(listed: int) -> Check:
    async def check(s: Running) -> None:
        vm_id = await s.create()
        await s.api.post(f"/vm/branch/by_vm/{vm_id}")
        assert (await s.api.get("/commits")).json()["total"] == listed

    return check


def quota_of_one(second: int) -> Check:
    async def check(s: Running) -> None:
        s.simulator.set_knobs("quota=1")
        await state(s, await s.create(), "Paused")
        assert (await s.api.post("/vm/new_root", json={"vm_config": {}})).status_code == second

    return check


def leaks(second: int) -> Check:
    async def check(s: Running) -> None:
        s.simulator.set_knobs("quota=1")
        await s.api.delete(f"/vm/{await s.create()}")
        assert (await s.api.post("/vm/new_root", json={"vm_config": {}})).status_code == second

    return check


def commit_suspended(expected: str) -> Check:
    async def check(s: Running) -> None:
        vm_id = await s.create()
        await state(s, vm_id, "Paused")
        await s.api.post(f"/vm/{vm_id}/commit", json={})
        assert await s.state(vm_id) == expected

    return check


async def key_works(s: Running) -> None:
    assert (await s.api.get("/vms")).status_code == 200


async def key_expired(s: Running) -> None:
    answer = await s.api.get("/vms")
    assert (answer.status_code, answer.content, answer.headers.get("content-type")) == (403, b"403 Forbidden", None)


def extra(there: bool) -> Check:
    async def check(s: Running) -> None:
        vm_id = await s.create()
        for path in (f"/vm/{vm_id}/status", f"/vm/{vm_id}/metadata", f"/vm/{vm_id}/ssh_key"):
            assert ("x_unknown_field" in (await s.api.get(path)).json()) is there

    return check


def content_type(expected: str | None) -> Check:
    async def check(s: Running) -> None:
        answer = await s.api.get("/vms")
        assert (answer.headers.get("content-type"), answer.json()) == (expected, [])
        refused = await s.api.get("/vm/00000000-0000-4000-8000-000000000000/status")
        assert refused.headers["content-type"] == "application/json"

    return check


def timestamps(ending: str, length: int) -> Check:
    async def check(s: Running) -> None:
        stamp = (await s.api.get(f"/vm/{await s.create()}/status")).json()["created_at"]
        assert stamp.endswith(ending)
        assert len(stamp) == length

    return check


def exec_suspended(hangs: bool) -> Check:
    async def check(s: Running) -> None:
        vm_id = await s.create()
        await state(s, vm_id, "Paused")
        call = s.api.post(f"/vm/{vm_id}/exec", json={"command": ["true"]}, timeout=0.2 if hangs else 30)
        if hangs:
            with pytest.raises(httpx.ReadTimeout):
                await call
        else:
            assert (await call).json() == {"error": "VM is paused", "success": False}

    return check


EXPECTED: dict[tuple[str, str], Check] = {
    ("suspend_dialect", "both"): dialect("Paused", None),
    ("suspend_dialect", "paused"): dialect("Paused", "Sleeping"),
    ("suspend_dialect", "sleeping"): dialect("Sleeping", "Paused"),
    ("suspended_reads_as", "match"): reads("Sleeping", "sleeping"),
    ("suspended_reads_as", "paused"): reads("Sleeping", "paused"),
    ("suspended_reads_as", "sleeping"): reads("Paused", "sleeping"),
    ("pause_when_paused", "200"): twice("Paused", "Paused", 200),
    ("pause_when_paused", "400"): twice("Paused", "Paused", 400),
    ("resume_when_running", "200"): twice(None, "Running", 200),
    ("resume_when_running", "400"): twice(None, "Running", 400),
    ("delete_suspended", "ok"): delete_suspended(200),
    ("delete_suspended", "400"): delete_suspended(400),
    ("delete_suspended", "500"): delete_suspended(500),
    ("delete_missing", "403json"): after_delete("DELETE", "", 403, FORBIDDEN),
    ("delete_missing", "404"): after_delete("DELETE", "", 404, {"error": "not found"}),
    ("metadata_after_delete", "404"): after_delete("GET", "metadata", 404, {"error": "not found"}),
    ("metadata_after_delete", "tombstone"): after_delete("GET", "metadata", 200, {"state": "dead"}),
    ("status_after_delete", "404"): after_delete("GET", "status", 404, {"error": "not found"}),
    ("status_after_delete", "dead"): after_delete("GET", "status", 200, {"state": "dead"}),
    ("restore_initial_state", "running"): restores("running"),
    ("restore_initial_state", "booting"): restores("booting"),
    ("commit_suspended_resumes", "no"): commit_suspended("paused"),
    ("commit_suspended_resumes", "yes"): commit_suspended("running"),
    ("inherit_labels", "no"): inherits({}),
    ("inherit_labels", "yes"): inherits({"who": "parent"}),
    ("honour_idempotency_key", "no"): idempotent(2),
    ("honour_idempotency_key", "yes"): idempotent(1),
    ("accept_commit_id", "yes"): client_commit_id(True),
    ("accept_commit_id", "ignore"): client_commit_id(False),
    ("list_path", "both"): paths(200, 200),
    ("list_path", "vms"): paths(200, 404),
    ("list_path", "vm"): paths(404, 200),
    ("list_internal_commits", "yes"): internal_commits(1),
    ("list_internal_commits", "no"): internal_commits(0),
    ("quota_counts_suspended", "yes"): quota_of_one(403),
    ("quota_counts_suspended", "no"): quota_of_one(201),
    ("leak_on_delete", "no"): leaks(201),
    ("leak_on_delete", "yes"): leaks(403),
    ("key_state", "valid"): key_works,
    ("key_state", "expired"): key_expired,
    ("exec_suspended", "500"): exec_suspended(False),
    ("exec_suspended", "hang"): exec_suspended(True),
    ("extra_fields", "no"): extra(False),
    ("extra_fields", "yes"): extra(True),
    ("omit_content_type", "no"): content_type("application/json"),
    ("omit_content_type", "yes"): content_type(None),
    ("timestamps", "micro"): timestamps("Z", 27),
    ("timestamps", "nano"): timestamps("Z", 30),
    ("timestamps", "offset"): timestamps("+00:00", 32),
}

# shown with a guest: test_simulator_guests and test_simulator_gateway
WITH_GUESTS = {"ssh_while_suspended", "lose_processes_on_resume", "guest_tools", "guest_names"}


@pytest.mark.parametrize(("name", "value"), EXPECTED, ids=lambda part: part)
async def test_a_knob_does_what_it_says(start: Start, name: str, value: str) -> None:
    await EXPECTED[name, value](await start(knobs=turn(Knobs(), [f"{name}={value}"])))


def test_every_value_of_every_choice_is_shown() -> None:
    choices = {(name, value) for name, values in knob_values().items() if len(values) > 1 for value in values}
    assert choices - EXPECTED.keys() == {(name, value) for name, value in choices if name in WITH_GUESTS}
    assert EXPECTED.keys() <= choices


# --- numbers -------------------------------------------------------------------------------------------------------------


async def test_the_list_lags(start: Start) -> None:
    s = await start(knobs=Knobs(list_lag_s=60))
    vm_id = await s.create()
    assert await s.state(vm_id) == "running"
    assert await s.listed() == set()
    s.set_clock(s.now() + 61)
    assert await s.listed() == {vm_id}


async def test_booting_takes_its_time_and_operations_wait_for_it(start: Start) -> None:
    s = await start(knobs=Knobs(boot_s=0.2))
    vm_id = await s.create()
    assert await s.state(vm_id) == "booting"
    impatient = await s.api.post(f"/vm/{vm_id}/commit?skip_wait_boot=true", json={})
    assert impatient.status_code == 400
    assert (await s.api.post(f"/vm/{vm_id}/commit", json={})).status_code == 201
    assert await s.state(vm_id) == "running"
    waited = await s.api.post("/vm/new_root?wait_boot=true", json={"vm_config": {}})
    assert await s.state(waited.json()["vm_id"]) == "running"


async def test_a_deleted_vm_is_listed_until_it_is_gone(start: Start) -> None:
    s = await start(knobs=Knobs(delete_s=0.2))
    vm_id = await s.create()
    with pytest.raises(httpx.ReadTimeout):
        await s.api.delete(f"/vm/{vm_id}", timeout=0.05)
    assert vm_id in await s.listed()

    async def gone() -> bool:
        return vm_id not in await s.listed()

    await until(gone, "the VM leaves the list although its caller left")


async def test_answers_take_as_long_as_branches_and_commits_do(start: Start) -> None:
    s = await start(knobs=Knobs(branch_s=600, commit_s=600))
    vm_id = await s.create()
    with pytest.raises(httpx.ReadTimeout):
        await s.api.post(f"/vm/{vm_id}/commit", json={}, timeout=0.05)
    commit = (await s.api.get("/commits")).json()["commits"][0]["commit_id"]  # made all the same
    with pytest.raises(httpx.ReadTimeout):
        await s.api.post("/vm/from_commit", json={"commit_id": commit}, timeout=0.05)
    assert len(await s.listed()) == 2


async def test_quota(start: Start) -> None:
    s = await start(knobs=Knobs(quota=2))
    first, _ = await s.create(), await s.create()
    answer = await s.api.post("/vm/new_root", json={"vm_config": {}})
    assert (answer.status_code, answer.headers["content-type"]) == (403, "application/json")
    assert answer.json()["error"].startswith("quota exceeded")
    await s.api.delete(f"/vm/{first}")
    await s.create()


async def test_rate_limit(start: Start) -> None:
    s = await start(knobs=Knobs(rate_limit=3))
    s.set_clock(s.now())  # stands still
    answers = [await s.api.get("/vms") for _ in range(4)]
    assert [a.status_code for a in answers] == [200, 200, 200, 429]
    assert answers[-1].headers["retry-after"] == "1"


async def test_a_branch_of_many_may_make_some(start: Start) -> None:
    s = await start(knobs=Knobs(count_partial=2))
    vm_id = await s.create()
    answer = await s.api.post(f"/vm/branch/by_vm/{vm_id}?count=5")
    assert answer.status_code == 500
    made = {row["vm_id"] for row in answer.json()["vms"]}
    assert len(made) == 2
    assert made | {vm_id} == await s.listed()
    assert answer.json()["error"]


@pytest.mark.guarantee("G-07")
async def test_vms_of_others_are_seen_and_not_touched(start: Start) -> None:
    s = await start(knobs=Knobs(foreign_vms=2))
    rows = (await s.api.get("/vms")).json()
    assert len(rows) == 2
    mine = s.endpoints.api_key[:36]
    assert mine not in {row["owner_id"] for row in rows}
    vm_id = rows[0]["vm_id"]
    for answer in (
        await s.api.delete(f"/vm/{vm_id}"),
        await state(s, vm_id, "Paused"),
        await s.api.patch(f"/vm/{vm_id}/label", json={"labels": {}}),
    ):
        assert (answer.status_code, answer.json()) == (403, FORBIDDEN)


@pytest.mark.parametrize(
    "setting", ["nonsense=1", "boot_s", "boot_s=-1", "boot_s=soon", "suspend_dialect=latin", "quota=1.5", "clock_offset_on_restore=nan"]
)
def test_a_wrong_setting_is_refused_by_name(setting: str) -> None:
    with pytest.raises(UsageError) as refused:
        turn(Knobs(), [setting])
    assert f"--knob {setting}" in str(refused.value)
    assert refused.value.remedy


def test_settings_add_up() -> None:
    assert turn(Knobs(), ["boot_s=1.5", "clock_offset_on_restore=-3600", "quota=7"]) == Knobs(
        boot_s=1.5, clock_offset_on_restore=-3600, quota=7
    )


def test_the_documentation_names_every_knob() -> None:
    text = (Path(__file__).parents[2] / "docs" / "simulator.md").read_text()
    documented = set(re.findall(r"`([a-z_]+)`", text))
    assert knob_values().keys() <= documented
