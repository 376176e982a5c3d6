"""What the reference says of every operation and every error shape (vers-api §2, §2.0), against the simulator and the live platform.

The expectations are written from the reference, not from the simulator."""

from __future__ import annotations

import re
from dataclasses import dataclass

import httpx2 as httpx
import pytest

from tests.simulator.support import Platform

NOBODY = "00000000-0000-4000-8000-000000000000"
UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
JSON = "application/json"
TEXT = "text/plain; charset=utf-8"
NOT_FOUND = {"error": "not found", "success": False}
NO_COMMIT = {"error": "commit not found", "success": False}


@dataclass(frozen=True)
class Refusal:
    """One request and how it is refused. `body`: JSON, or the beginning of a text."""

    method: str
    path: str
    status: int
    content_type: str | None
    body: dict[str, object] | str
    send: bytes | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.send!r}"


BAD_UUID = "Invalid URL: Cannot parse `vm_id` with value `x`: UUID parsing failed: "
PARSE = "Failed to parse the request body as JSON: "
SHAPE = "Failed to deserialize the JSON body into the target type: "
REFUSALS = [
    # by id, most operations: JSON 404
    *[Refusal("GET", f"/vm/{NOBODY}/{what}", 404, JSON, NOT_FOUND) for what in ("status", "metadata", "ssh_key", "logs")],
    Refusal("GET", f"/vm/{NOBODY}/files?path=/etc/hostname", 404, JSON, NOT_FOUND),
    Refusal("PUT", f"/vm/{NOBODY}/files", 404, JSON, NOT_FOUND, b'{"path":"/tmp/x","content_b64":""}'),
    Refusal("POST", f"/vm/{NOBODY}/exec", 404, JSON, NOT_FOUND, b'{"command":["true"]}'),
    Refusal("POST", f"/vm/{NOBODY}/exec/stream", 404, JSON, NOT_FOUND, b'{"command":["true"]}'),
    Refusal("POST", f"/vm/{NOBODY}/commit", 404, JSON, NOT_FOUND, b"{}"),
    Refusal("PATCH", f"/vm/{NOBODY}/state", 404, JSON, NOT_FOUND, b'{"state":"Running"}'),
    Refusal("PATCH", f"/vm/{NOBODY}/disk", 404, JSON, NOT_FOUND, b'{"fs_size_mib":9000}'),
    Refusal("PATCH", f"/vm/{NOBODY}/label", 404, JSON, NOT_FOUND, b'{"labels":{"a":"b"}}'),
    Refusal("PUT", f"/vm/{NOBODY}/labels", 404, JSON, NOT_FOUND, b'{"labels":{}}'),
    Refusal("DELETE", f"/vm/{NOBODY}/label/a", 404, JSON, NOT_FOUND),
    Refusal("PATCH", f"/commits/{NOBODY}", 404, JSON, NOT_FOUND, b'{"is_public":false}'),
    Refusal("DELETE", f"/commits/{NOBODY}", 404, JSON, NOT_FOUND),
    Refusal("GET", f"/vm/commits/{NOBODY}/parents", 404, JSON, NOT_FOUND),
    # the 403 trap
    Refusal("DELETE", f"/vm/{NOBODY}", 403, JSON, {"error": "Forbidden", "success": False}),
    # commit not found, also where a VM was meant
    Refusal("POST", "/vm/from_commit", 404, JSON, NO_COMMIT, f'{{"commit_id":"{NOBODY}"}}'.encode()),
    Refusal("POST", f"/vm/branch/by_commit/{NOBODY}", 404, JSON, NO_COMMIT),
    Refusal("POST", f"/vm/{NOBODY}/branch", 404, JSON, NO_COMMIT),
    # hybrids
    Refusal("POST", f"/vm/branch/by_vm/{NOBODY}", 404, JSON, {"vms": [], "error": "parent vm not found"}),
    Refusal("POST", "/vm/branch/by_ref/no-such-repo-x/no-tag", 404, JSON, {"vms": [], "error": "tag not found"}),
    # names
    Refusal("GET", "/repositories/no-such-repo-x", 404, JSON, {"error": "repository not found", "success": False}),
    Refusal("GET", "/commit_tags/no-such-tag-x", 404, JSON, {"error": "tag not found", "success": False}),
    Refusal("DELETE", "/env_vars/NO_SUCH_NAME_X", 404, JSON, {"error": "Environment variable not found", "success": False}),
    # malformed ids: text without a content type
    Refusal("GET", "/vm/x/status", 400, None, BAD_UUID),
    Refusal("DELETE", "/vm/x", 400, None, BAD_UUID),
    Refusal("PATCH", "/vm/x/state", 400, None, BAD_UUID, b'{"state":"Running"}'),
    Refusal("POST", "/vm/branch/by_vm/x", 400, None, BAD_UUID),
    # bodies that are no JSON, empty, or not exactly one of
    Refusal("POST", "/vm/from_commit", 400, TEXT, PARSE, b"{nonsense"),
    Refusal("POST", "/vm/from_commit", 400, TEXT, PARSE, b""),
    Refusal("POST", "/vm/from_commit", 400, TEXT, PARSE, b"{}"),
    Refusal("POST", "/vm/from_commit", 400, TEXT, PARSE, f'{{"commit_id":"{NOBODY}","ref":"a:b"}}'.encode()),
    Refusal("POST", "/vm/new_root", 400, TEXT, PARSE, b""),
    Refusal("PATCH", f"/vm/{NOBODY}/label", 400, TEXT, PARSE, b"{}"),
    Refusal(
        "POST",
        "/vm/from_commit",
        400,
        JSON,
        {"error": "Invalid ref format. Expected 'repo_name:tag_name'", "success": False},
        b'{"ref":"no-colon"}',
    ),
    # JSON of the wrong shape: text 422
    Refusal("PATCH", f"/vm/{NOBODY}/state", 422, TEXT, SHAPE + "state: unknown variant `running`, expected ", b'{"state": "running"}'),
    Refusal("POST", "/vm/new_root", 422, TEXT, SHAPE, b"{}"),
    Refusal("POST", "/vm/new_root", 422, TEXT, SHAPE, b'{"vm_config":{"vcpu_count":"two"}}'),
    Refusal("POST", "/vm/new_root", 422, TEXT, SHAPE, b'{"vm_config":{"mem_size_mib":-1}}'),
    Refusal("POST", "/vm/new_root", 422, TEXT, SHAPE, b'{"vm_config":{"labels":{"a":1}}}'),
    Refusal("PATCH", f"/vm/{NOBODY}/disk", 422, TEXT, SHAPE, b'{"fs_size_mib":"big"}'),
]


def same(answer: httpx.Response, status: int, content_type: str | None, body: dict[str, object] | str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers.get("content-type") == content_type
    if isinstance(body, str):
        assert answer.text.startswith(body)
    else:
        assert answer.json() == body


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
async def test_refusals(platform: Platform, refusal: Refusal) -> None:
    headers = {"Content-Type": JSON} if refusal.send is not None else {}
    answer = await platform.api.request(refusal.method, refusal.path, content=refusal.send, headers=headers)
    same(answer, refusal.status, refusal.content_type, refusal.body)


@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer nonsense", f"Bearer {NOBODY}{'0' * 64}", "Basic eDp5"])
@pytest.mark.parametrize(("method", "path"), [("GET", "/vms"), ("GET", "/whoami"), ("POST", "/vm/new_root"), ("DELETE", f"/vm/{NOBODY}")])
async def test_a_bad_key_is_a_text_403(platform: Platform, method: str, path: str, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = await platform.anonymous.request(method, path, headers=headers)
    assert (answer.status_code, answer.content, answer.headers.get("content-type")) == (403, b"403 Forbidden", None)


async def test_what_needs_no_key(platform: Platform) -> None:
    version = await platform.anonymous.get("/system/version")
    assert set(version.json()) >= {"executable_name", "workspace_version", "git_hash"}
    root = str(platform.anonymous.base_url).removesuffix("/").removesuffix("/api/v1")
    assert set((await platform.anonymous.get(f"{root}/health")).json()) >= {"ssh", "http", "websocket"}
    assert "repositories" in (await platform.anonymous.get("/public/repositories")).json()


async def test_the_life_of_a_vm(platform: Platform) -> None:
    api = platform.api
    config = {"vcpu_count": 1, "mem_size_mib": 512, "fs_size_mib": 1024, "labels": {"purpose": "contract"}}
    made = await api.post("/vm/new_root?wait_boot=true", json={"vm_config": config})
    assert made.status_code == 201
    assert set(made.json()) == {"vm_id"}
    vm_id = made.json()["vm_id"]
    assert UUID.fullmatch(vm_id)
    platform.made.append(vm_id)

    status = await api.get(f"/vm/{vm_id}/status")
    assert status.status_code == 200
    row = status.json()
    assert row["vm_id"] == vm_id
    assert row["owner_id"] == str(api.headers["authorization"]).removeprefix("Bearer ")[:36]
    assert row["state"] == "running"
    assert row["labels"] == {"purpose": "contract"}
    assert not {"ip", "parent_commit_id"} & set(row)
    for path in ("/vms", "/vm"):
        listed = await api.get(path)
        assert listed.status_code == 200
        assert row in listed.json()
    metadata = (await api.get(f"/vm/{vm_id}/metadata")).json()
    assert metadata["vm_id"] == vm_id
    assert metadata["ip"].startswith("fd")
    assert "labels" not in metadata
    assert [metadata[k] for k in ("deleted_at", "parent_commit_id", "grandparent_vm_id")] == [None, None, None]
    key = (await api.get(f"/vm/{vm_id}/ssh_key")).json()
    assert isinstance(key["ssh_port"], int)
    assert key["ssh_private_key"].startswith("-----BEGIN OPENSSH PRIVATE KEY-----")

    for word, states in (("Sleeping", {"paused", "sleeping"}), ("Running", {"running"})):
        changed = await api.patch(f"/vm/{vm_id}/state", json={"state": word})
        same(changed, 200, None, "")
        assert changed.content == b""
        assert (await api.get(f"/vm/{vm_id}/status")).json()["state"] in states

    deleted = await api.delete(f"/vm/{vm_id}")
    same(deleted, 200, JSON, {"vm_id": vm_id})
    assert vm_id not in {row["vm_id"] for row in (await api.get("/vms")).json()}
    same(await api.delete(f"/vm/{vm_id}"), 403, JSON, {"error": "Forbidden", "success": False})
    assert (await api.get(f"/vm/{vm_id}/status")).status_code == 404


async def test_labels(platform: Platform) -> None:
    api, vm_id = platform.api, await platform.create()

    async def labels() -> dict[str, str]:
        return dict((await api.get(f"/vm/{vm_id}/status")).json()["labels"])

    for method, path, sent, expected in (
        ("PATCH", "label", {"labels": {"a": "1", "b": "2"}}, {"a": "1", "b": "2"}),
        ("PATCH", "label", {"labels": {"b": "3"}}, {"a": "1", "b": "3"}),
        ("PATCH", "label", {"labels": {}}, {"a": "1", "b": "3"}),
        ("PUT", "labels", {"labels": {"c": "4"}}, {"c": "4"}),
        ("DELETE", "label/c", None, {}),
        ("PUT", "labels", {"labels": {"d": "5"}}, {"d": "5"}),
        ("PUT", "labels", {"labels": {}}, {}),
    ):
        answer = await api.request(method, f"/vm/{vm_id}/{path}", json=sent) if sent else await api.request(method, f"/vm/{vm_id}/{path}")
        assert (answer.status_code, answer.content) == (200, b"")
        assert await labels() == expected


async def test_the_disk_only_grows(platform: Platform) -> None:
    api, vm_id = platform.api, await platform.create()
    for size, status in ((1024, 400), (512, 400), (2048, 200), (2048, 400)):
        answer = await api.patch(f"/vm/{vm_id}/disk", json={"fs_size_mib": size})
        assert answer.status_code == status
        assert answer.headers.get("content-type") == (JSON if status == 400 else None)


async def test_commits_and_lineage(platform: Platform) -> None:
    """vm.parent_commit_id, vm.grandparent_vm_id, commit.parent_vm_id, commit.grandparent_commit_id (vers-api §2.1)."""
    api, vm_id = platform.api, await platform.create()
    answer = await api.post(f"/vm/{vm_id}/commit", json={"name": "first", "description": "of the contract"})
    assert answer.status_code == 201
    first = answer.json()["commit_id"]
    restored = await api.post("/vm/from_commit", json={"commit_id": first})
    assert (restored.status_code, set(restored.json())) == (201, {"vm_id"})
    child = restored.json()["vm_id"]
    platform.made.append(child)
    metadata = (await api.get(f"/vm/{child}/metadata")).json()
    assert (metadata["parent_commit_id"], metadata["grandparent_vm_id"]) == (first, vm_id)

    second = (await api.post(f"/vm/{child}/commit")).json()["commit_id"]  # no body works
    parents = (await api.get(f"/vm/commits/{second}/parents")).json()
    assert [row.get("id", row.get("commit_id")) for row in parents] == [second, first]
    assert (parents[0]["parent_vm_id"], parents[0]["grandparent_commit_id"]) == (child, first)
    assert (parents[1]["parent_vm_id"], parents[1]["grandparent_commit_id"]) == (vm_id, None)
    listed = (await api.get("/commits?limit=100")).json()
    assert set(listed) == {"commits", "total", "limit", "offset"}
    rows = {row["commit_id"]: row for row in listed["commits"]}
    assert (rows[first]["name"], rows[first]["description"], rows[first]["is_public"]) == ("first", "of the contract", False)
    assert rows[second]["name"]

    conflict = await api.delete(f"/commits/{first}")
    same(conflict, 409, JSON, {"error": "commit still has 1 active VM(s)", "success": False})
    assert (await api.delete(f"/vm/{child}")).status_code == 200
    changed = await api.patch(f"/commits/{second}", json={"is_public": False, "name": "renamed"})
    assert (changed.status_code, changed.json()["name"]) == (200, "renamed")
    for commit in (second, first):
        gone = await api.delete(f"/commits/{commit}")
        assert (gone.status_code, gone.content) == (204, b"")


async def test_pages_of_commits(platform: Platform) -> None:
    api, vm_id = platform.api, await platform.create()
    made = [(await api.post(f"/vm/{vm_id}/commit", json={})).json()["commit_id"] for _ in range(3)]
    page = (await api.get("/commits?limit=2&offset=0")).json()
    assert (len(page["commits"]), page["limit"], page["offset"]) == (2, 2, 0)
    assert page["total"] >= 3
    assert (await api.get("/commits?limit=500")).json()["limit"] == 100
    for commit in made:
        await api.delete(f"/commits/{commit}")


async def test_branches(platform: Platform) -> None:
    """Of a VM: a fresh commit stands between (vers-api §7.3); `count` children."""
    api, vm_id = platform.api, await platform.create()
    branched = await api.post(f"/vm/branch/by_vm/{vm_id}?count=2")
    assert branched.status_code == 201
    children = [row["vm_id"] for row in branched.json()["vms"]]
    platform.made += children
    assert len(set(children)) == 2
    lineage = [(await api.get(f"/vm/{child}/metadata")).json() for child in children]
    commits = {row["parent_commit_id"] for row in lineage}
    assert {row["grandparent_vm_id"] for row in lineage} == {vm_id}
    assert len(commits) == 1
    assert (await api.get(f"/vm/{vm_id}/status")).json()["state"] == "running"
    commit = commits.pop()
    for path in (f"/vm/branch/by_commit/{commit}", f"/vm/{commit}/branch", f"/vm/{vm_id}/branch"):
        answer = await api.post(path)
        assert answer.status_code == 201, answer.text
        platform.made.append(answer.json()["vms"][0]["vm_id"])
    kept = await api.post(f"/vm/branch/by_vm/{vm_id}?keep_paused=true")
    platform.made.append(kept.json()["vms"][0]["vm_id"])
    assert (await api.get(f"/vm/{vm_id}/status")).json()["state"] in ("paused", "sleeping")


async def test_legacy_tags(platform: Platform) -> None:
    api, vm_id = platform.api, await platform.create()
    commit = (await api.post(f"/vm/{vm_id}/commit", json={})).json()["commit_id"]
    tag = "contract-tag-x"
    made = await api.post("/commit_tags", json={"tag_name": tag, "commit_id": commit, "description": "d"})
    assert made.status_code == 201
    assert set(made.json()) == {"tag_id", "tag_name", "commit_id"}
    assert (await api.post("/commit_tags", json={"tag_name": tag, "commit_id": commit})).status_code == 409
    assert tag in {row["tag_name"] for row in (await api.get("/commit_tags")).json()["tags"]}
    assert (await api.get(f"/commit_tags/{tag}")).json()["commit_id"] == commit
    for answer in (await api.post("/vm/from_commit", json={"tag_name": tag}), await api.post(f"/vm/branch/by_tag/{tag}")):
        assert answer.status_code == 201
        platform.made.append(answer.json().get("vm_id") or answer.json()["vms"][0]["vm_id"])
    changed = await api.patch(f"/commit_tags/{tag}", json={"description": None})
    assert (changed.status_code, changed.content) == (204, b"")
    row = (await api.get(f"/commit_tags/{tag}")).json()
    assert (row["description"], row["commit_id"]) == (None, commit)
    assert (await api.delete(f"/commit_tags/{tag}")).status_code == 204
    assert (await api.get(f"/commit_tags/{tag}")).status_code == 404


async def test_repositories(platform: Platform) -> None:
    api, vm_id = platform.api, await platform.create()
    commit = (await api.post(f"/vm/{vm_id}/commit", json={})).json()["commit_id"]
    repo, tag = "contract-repo-x", "v1"
    made = await api.post("/repositories", json={"name": repo, "description": "d"})
    assert (made.status_code, set(made.json())) == (201, {"repo_id", "name"})
    same(await api.post("/repositories", json={"name": repo}), 409, JSON, {"error": "repository already exists", "success": False})
    assert (await api.post("/repositories", json={"name": "no spaces"})).status_code == 400
    assert repo in {row["name"] for row in (await api.get("/repositories")).json()["repositories"]}
    tagged = await api.post(f"/repositories/{repo}/tags", json={"tag_name": tag, "commit_id": commit})
    assert tagged.status_code == 201
    assert tagged.json()["reference"] == f"{repo}:{tag}"
    assert (await api.post(f"/repositories/{repo}/tags", json={"tag_name": tag, "commit_id": commit})).status_code == 409
    tags = (await api.get(f"/repositories/{repo}/tags")).json()
    assert (tags["repository"], [row["tag_name"] for row in tags["tags"]]) == (repo, [tag])
    for answer in (await api.post("/vm/from_commit", json={"ref": f"{repo}:{tag}"}), await api.post(f"/vm/branch/by_ref/{repo}/{tag}")):
        assert answer.status_code == 201
        platform.made.append(answer.json().get("vm_id") or answer.json()["vms"][0]["vm_id"])
    assert (await api.get(f"/repositories/{repo}/tags/no-such-tag")).json()["error"] == "tag not found"
    assert (await api.patch(f"/repositories/{repo}/tags/{tag}", json={"description": "new"})).status_code == 204
    assert (await api.get(f"/repositories/{repo}/tags/{tag}")).json()["description"] == "new"
    assert (await api.patch(f"/repositories/{repo}/visibility", json={"is_public": False})).status_code == 204
    assert (await api.delete(f"/repositories/{repo}/tags/{tag}")).status_code == 204
    assert (await api.delete(f"/repositories/{repo}")).status_code == 204
    same(await api.get(f"/repositories/{repo}"), 404, JSON, {"error": "repository not found", "success": False})
    assert (await api.get(f"/vm/commits/{commit}/parents")).status_code == 200  # the commit stays


async def test_a_fork_makes_a_repository_and_a_vm(platform: Platform) -> None:
    api, vm_id = platform.api, await platform.create()
    org = (await api.get("/whoami")).json()["org"]["name"]
    commit = (await api.post(f"/vm/{vm_id}/commit", json={})).json()["commit_id"]
    await api.post("/repositories", json={"name": "contract-source-x"})
    await api.post("/repositories/contract-source-x/tags", json={"tag_name": "v1", "commit_id": commit})
    body = {"source_org": org, "source_repo": "contract-source-x", "source_tag": "v1", "repo_name": "contract-fork-x"}
    assert (await api.post("/repositories/fork", json=body)).status_code == 404  # not public yet
    assert (await platform.anonymous.get(f"/public/repositories/{org}/contract-source-x")).status_code == 404
    assert (await api.patch("/repositories/contract-source-x/visibility", json={"is_public": True})).status_code == 204
    tags = await platform.anonymous.get(f"/public/repositories/{org}/contract-source-x/tags")
    assert [row["tag_name"] for row in tags.json()["tags"]] == ["v1"]
    forked = await api.post("/repositories/fork", json=body)
    assert forked.status_code == 201
    row = forked.json()
    platform.made.append(row["vm_id"])
    assert (row["repo_name"], row["tag_name"], row["reference"]) == ("contract-fork-x", "v1", "contract-fork-x:v1")
    assert row["vm_id"] in {vm["vm_id"] for vm in (await api.get("/vms")).json()}
    assert (await api.post("/repositories/fork", json=body)).status_code == 409
    for name in ("contract-fork-x", "contract-source-x"):
        assert (await api.delete(f"/repositories/{name}")).status_code == 204


async def test_public_commits(platform: Platform) -> None:
    api, vm_id = platform.api, await platform.create()
    commit = (await api.post(f"/vm/{vm_id}/commit", json={})).json()["commit_id"]
    assert commit not in {row["commit_id"] for row in (await api.get("/commits/public?limit=100")).json()["commits"]}
    assert (await api.patch(f"/commits/{commit}", json={"is_public": True})).json()["is_public"] is True
    assert commit in {row["commit_id"] for row in (await api.get("/commits/public?limit=100")).json()["commits"]}
    assert (await api.delete(f"/commits/{commit}")).status_code == 204


async def test_who_am_i(platform: Platform) -> None:
    who = (await platform.api.get("/whoami")).json()
    assert set(who) == {"api_key", "org", "user"}
    assert who["api_key"]["id"] == str(platform.api.headers["authorization"]).removeprefix("Bearer ")[:36]
    assert {"expires_at", "max_vcpus", "max_memory_mib"} <= set(who["api_key"])
    assert (await platform.api.post("/keys/validate")).json()["valid"] is True


async def test_environment_variables(platform: Platform) -> None:
    api = platform.api
    put = await api.put("/env_vars", json={"vars": {"CONTRACT_X": "1"}})
    assert put.status_code == 200
    assert (await api.get("/env_vars")).json()["vars"]["CONTRACT_X"] == "1"
    assert (await api.put("/env_vars", json={"vars": {"1BAD": "x"}})).status_code == 400
    assert (await api.delete("/env_vars/CONTRACT_X")).status_code == 204
    assert "CONTRACT_X" not in (await api.get("/env_vars")).json()["vars"]


async def test_the_answer_carries_the_platforms_clock(platform: Platform) -> None:
    """vers-api §7.2: created_at is compared with the Date header."""
    answer = await platform.api.get("/vms")
    assert re.fullmatch(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", answer.headers["date"])
