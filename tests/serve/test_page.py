"""The page as it is rendered: every screen, whatever names and agents say, to whoever may see it, and small enough."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import httpx2 as httpx
import pytest

from reconciler.core.fleet.breaker import Breaker
from reconciler.core.keys import Key
from reconciler.core.prune import Blocked, Removal
from reconciler.engine.ports import Event
from reconciler.serve.guard import POLICY
from reconciler.serve.ui.rendering import assets
from reconciler.serve.ui.routes import SCREENS
from reconciler.sources.documents.reader import Finding
from reconciler.views.forecast import Forecast, Pending, Planned, Pruned
from tests.serve.rig import NOW, TALK, TOKEN, Served, conditions, fleet_served, large_fleet, lieutenant, said, small_fleet, task

SECRET = "sk-very-secret-value"
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>{{7*7}}\x1b[31m\u202e"
PATHS = [
    "/", "/trees", "/trees/default/prod", "/lieutenants/default/api", "/lieutenants/default/api?plan=1", "/tasks", "/tasks/default/docs-1",
    "/events", "/plan", "/capacity", "/costs", "/login",
]  # fmt: skip
VOID = frozenset({"meta", "link", "input", "img", "br"})


class Parsed(HTMLParser):
    """A page's elements; raises AssertionError where tags do not match. `text`: what is read."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def hostile_fleet() -> list[object]:
    odd = task(1, "api", "Succeeded", prompt=EVIL, answer=EVIL, files=[EVIL], checks=[EVIL])
    odd = replace(odd, key=Key("Task", "default", "docs-1"), status={**odd.status, "conditions": conditions("True", EVIL, EVIL)})  # type: ignore[dict-item]
    return [
        odd,
        lieutenant(1, "Stalled", EVIL, EVIL, name="api", agent={"model": EVIL}, boot={"organs": [{"name": EVIL, "state": EVIL}]}),
        lieutenant(2, "Idle", name=EVIL),
        *[one for one in small_fleet() if one.key.name == "prod"],
    ]


def hostile_plan() -> Forecast:
    """One of each that a plan can tell."""
    api, other = Key("Lieutenant", "default", "api"), Removal(Key("Lieutenant", "default", EVIL))
    pruned = Pruned(EVIL, (other, Removal(api)), Blocked(EVIL, EVIL, (other,), EVIL, EVIL), False)
    acts, rest = [Planned(api, EVIL, EVIL, EVIL, why=EVIL, lost=EVIL)], [Pending(api, EVIL, EVIL, EVIL)]
    return Forecast(acts, "hash", [Finding(EVIL, 1, 1, EVIL, EVIL)], rest, True, [pruned])


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    events = [Event(Key("Lieutenant", "default", "api"), "uid-1", "Warning", "Crashed", f"it ended with {SECRET}", NOW)]
    async with fleet_served(tmp_path, small_fleet(), events, [("s-1", TALK)], [SECRET]) as found:
        yield found


async def signed_in(served: Served) -> httpx.AsyncClient:
    """A browser with a session."""
    answer = await served.http.post("/login", data={"token": TOKEN})
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie
    return served.http


def mark_in(page: str) -> str:
    found = re.search(r'name="mark" value="(\w+)"', page)
    assert found is not None
    return found[1]


@pytest.mark.parametrize("path", PATHS)
async def test_every_screen_is_well_formed_and_runs_nothing_inline(served: Served, path: str) -> None:
    answer = await served.http.get(path)
    assert answer.status_code == 200, answer.text
    page = Parsed(answer.text)
    ids = [attrs["id"] for _, attrs in page.elements if "id" in attrs]
    assert len(ids) == len(set(ids))
    for tag, attrs in page.elements:
        assert not [name for name in attrs if name.startswith("on") or name == "style"], tag
        assert tag != "style"
        if tag == "script":
            assert attrs["src"]
        if tag in ("input", "select", "textarea") and attrs.get("type") not in ("hidden", "checkbox"):
            assert attrs.get("id") or attrs.get("name") == "namespace", "a field has a label"
    assert [tag for tag, _ in page.elements].count("h1") == 1


def test_every_screen_is_tested() -> None:
    shown = {re.sub(r"default/[\w-]+", "{namespace}/{name}", path.partition("?")[0]) for path in PATHS}
    assert set(SCREENS) <= shown


async def test_the_fleet_begins_with_what_needs_a_person(served: Served) -> None:
    text = Parsed((await served.http.get("/")).text).text
    assert text.index("SessionDiverged") < text.index("web-now") < text.index("sleeper") < text.index("unlucky")
    only = Parsed((await served.http.get("/", params={"standing": "asleep"})).text).text
    assert "sleeper" in only
    assert "unlucky" not in only
    found = Parsed((await served.http.get("/", params={"q": "diverged API"})).text).text
    assert "choose one" in found
    assert "sleeper" not in found


async def test_a_lieutenant_with_its_conversation_tasks_and_machine(served: Served) -> None:
    page = Parsed((await served.http.get("/lieutenants/default/api")).text)
    for words in ("GET /health", "1 failing", "node --test", "5f0c2c0e-6a0e-4d7b-9a53-000000000001", "claude-sonnet-5", "Crashed"):
        assert words in page.text
    assert [attrs.get("class") for tag, attrs in page.elements if tag == "details"] == [None, "failed"], "tools are folded"


@pytest.mark.guarantee("G-64")
@pytest.mark.parametrize(
    "path",
    ["/", "/lieutenants/default/api?plan=1", "/tasks", "/tasks/default/docs-1", "/events", "/costs", "/plan"],
)
async def test_whatever_is_said_is_text(tmp_path: Path, path: str) -> None:
    events = [Event(Key("Lieutenant", "default", EVIL), "uid-1", "Warning", EVIL, EVIL, NOW)]
    events.append(Event(Key("Lieutenant", "default", "api"), "uid-1", "Warning", EVIL, EVIL, NOW))
    talk = said("user", EVIL) + said("assistant", EVIL, calls=[{"id": "c", "name": EVIL, "arguments": {"path": EVIL}}], errorMessage=EVIL)
    talk += said("toolResult", EVIL, toolCallId="c")
    async with fleet_served(tmp_path, hostile_fleet(), events, [("s-1", talk)], foresees=hostile_plan()) as served:  # type: ignore[arg-type]
        answer = await served.http.get(f"{path}{'&' if '?' in path else '?'}q=")
        page = Parsed(answer.text)
        assert [attrs for tag, attrs in page.elements if tag == "script" and "page.js" not in str(attrs.get("src"))] == []
        assert [tag for tag, _ in page.elements if tag == "img"] == []
        assert not set(answer.text) & set("\x1b\u202e")
        assert path == "/costs" or "{{7*7}}" in page.text
        if "plan" in path:
            for words in ("Not as declared even then", "Declarations that are refused", "Not declared any more", "PruneBlocked"):
                assert words in page.text
            assert "Nothing to do" not in page.text
        assert "49" not in re.sub(r"\d{3,}|[\da-f-]{36}", "", page.text)


@pytest.mark.guarantee("G-64")
async def test_what_an_address_says_is_text(served: Served) -> None:
    for path in ("/", "/tasks", "/events"):
        for name in ("q", "namespace", "standing", "phase", "lieutenant", "type"):
            answer = await served.http.get(path, params={name: EVIL})
            assert "<script>alert" not in answer.text
            assert "<img" not in answer.text


@pytest.mark.guarantee("G-60")
async def test_no_secret_is_on_a_page(served: Served) -> None:
    await served.say("s-1", said("assistant", f"the key is {SECRET}"))
    await served.status(Key("Lieutenant", "default", "api"), agent={"model": SECRET})
    for path in PATHS:
        assert SECRET not in (await served.http.get(path)).text
    assert "[redacted]" in (await served.http.get("/lieutenants/default/api")).text


async def test_figures_files_and_what_stands_in_the_way_are_shown(served: Served) -> None:
    assert "closed: machines can be made" in Parsed((await served.http.get("/capacity")).text).text
    served.engine.gatherer.slots.hold.breaker = Breaker("the account has no machines left", NOW)
    served.engine.table.halted = "2026-11-21T08:16:40Z"
    page = Parsed((await served.http.get("/capacity")).text).text
    assert "open the account has no machines left" in page
    assert "since 2026-11-21T08:16:40Z" in page
    assert "closed: machines can be made" not in page
    assert "server.js" in Parsed((await served.http.get("/tasks/default/docs-1")).text).text
    assert "$0.037500 for 6 answers: 3609 tokens read, 1020 written." in Parsed((await served.http.get("/costs")).text).text


# --- who may --------------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-64")
async def test_a_reader_is_offered_nothing_that_changes(served: Served) -> None:
    for path in PATHS:
        page = Parsed((await served.http.get(path)).text)
        forms = [attrs.get("action") for tag, attrs in page.elements if tag == "form" and attrs.get("method") == "post"]
        assert forms in ([], ["/login"])


@pytest.mark.guarantee("G-64")
async def test_another_user_is_asked_for_the_token(tmp_path: Path) -> None:
    async with fleet_served(tmp_path, small_fleet(), own=lambda client, server: False) as served:
        for path in [*PATHS, "/nothing"]:
            answer = await served.http.get(path, headers={"Accept": "text/html"})
            if path != "/login":
                assert (answer.status_code, answer.headers["location"]) == (303, "/login")
        wrong = await served.http.post("/login", data={"token": "not-the-token"})
        assert wrong.status_code == 403
        assert "set-cookie" not in wrong.headers
        http = await signed_in(served)
        assert "SessionDiverged" in (await http.get("/")).text
        await http.post("/logout", data={})
        assert (await http.get("/", headers={"Accept": "text/html"})).status_code == 303


async def test_forms_declare_as_the_api_does(served: Served) -> None:
    http = await signed_in(served)
    page = (await http.get("/lieutenants/default/docs")).text
    mark = mark_in(page)
    answer = await http.post("/lieutenants/default/docs/send", data={"mark": mark, "prompt": "Line one\r\nline two", "steer": "yes"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/lieutenants/default/docs?done=send")
    made = [item.obj for item in served.engine.table.of_kind("Task") if item.obj.spec["prompt"] == "Line one\nline two"]
    assert [one.spec.get("delivery") for one in made] == ["Steer"]
    for path, key, field, value in (
        ("/lieutenants/default/docs/suspend", Key("Lieutenant", "default", "docs"), "mode", "Suspended"),
        ("/tasks/default/web-now/cancel", Key("Task", "default", "web-now"), "cancel", True),
        ("/trees/default/prod/suspend", Key("VMTree", "default", "prod"), "mode", "Suspended"),
    ):
        done = await http.post(path, data={"mark": mark})
        assert done.status_code == 303, done.text
        item = served.engine.table.get(key)
        assert item is not None
        assert item.obj.spec[field] == value
    asking = Key("Task", "default", "web-now")
    await served.status(asking, asks=[{"id": "a1", "call": "bash(rm x)"}])
    assert 'value="a1"' in (await http.get("/tasks/default/web-now")).text
    assert (await http.post("/tasks/default/web-now/approve", data={"mark": mark, "ids": "a1"})).status_code == 303
    item = served.engine.table.get(asking)
    assert item is not None
    assert item.obj.spec["approvals"] == [{"id": "a1", "decision": "Approve"}]
    refused = await http.post("/tasks/default/docs-1/cancel", data={"mark": mark})
    assert refused.status_code == 409
    assert "Succeeded already" in refused.text


@pytest.mark.guarantee("G-64")
async def test_a_forged_form_changes_nothing(served: Served) -> None:
    http = await signed_in(served)
    before = served.engine.revision
    for data in ({}, {"mark": ""}, {"mark": "0" * 64}):
        assert (await http.post("/lieutenants/default/docs/suspend", data=data)).status_code == 403
        assert (await http.post("/api/v1/lieutenants/default/docs/suspend", json={})).status_code == 403
    mark = mark_in((await http.get("/lieutenants/default/docs")).text)
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}):
        answer = await http.post("/lieutenants/default/docs/suspend", data={"mark": mark}, headers=headers)
        assert answer.status_code == 403, headers
    assert served.engine.revision == before
    by_script = await http.post("/api/v1/lieutenants/default/docs/suspend", json={}, headers={"X-Form-Mark": mark})
    assert by_script.status_code == 200


async def test_what_is_newer_than_the_board_is_shown(tmp_path: Path) -> None:
    """A table has a new object a moment before whoever follows it is told."""
    async with fleet_served(tmp_path, small_fleet()) as served:
        for key in [key for key in served.surface.board.rows if key.name in ("web", "web-now", "prod")]:
            del served.surface.board.rows[key]
        for path in ("/lieutenants/default/web", "/tasks/default/web-now", "/trees/default/prod"):
            assert (await served.http.get(path)).status_code == 200, path


async def test_where_a_cluster_declares_there_are_no_forms(tmp_path: Path) -> None:
    async with fleet_served(tmp_path, small_fleet(), cluster=True) as served:
        http = await signed_in(served)
        page = (await http.get("/lieutenants/default/docs")).text
        assert "/send" not in page
        assert "kubectl" in page


async def test_an_operator_that_stands_by_says_so(tmp_path: Path) -> None:
    async with fleet_served(tmp_path, small_fleet(), stands_by=True) as served:
        answer = await served.http.get("/")
        assert answer.status_code == 503
        assert "stands by" in answer.text


async def test_what_is_not_there_is_told(served: Served) -> None:
    answer = await served.http.get("/lieutenants/default/nobody")
    assert answer.status_code == 404
    assert "does not exist" in answer.text


# --- size -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-65")
async def test_2000_objects_and_a_long_conversation_stay_small(tmp_path: Path) -> None:
    talk = b"".join(said("assistant", f"{number} " + "y" * 20_000) for number in range(400))
    async with fleet_served(tmp_path, large_fleet(2000), talks=[("s-1", talk)]) as served:
        whole = sum(len(one.content) for one in assets().values())
        first = await served.http.get("/")
        assert len(first.content) + whole < 200_000
        assert "page 1 of 20" in Parsed(first.text).text
        last = await served.http.get("/", params={"page": 99})
        assert "page 20 of 20" in Parsed(last.text).text
        assert len((await served.http.get("/lieutenants/default/lt-0001")).content) < 400_000


# --- looks ----------------------------------------------------------------------------------------------------------------------

TEXTS = ("text", "dim", "link", "needs-you", "working", "ready", "asleep", "failed")
GROUNDS = ("back", "card", "mark")


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def schemes() -> dict[str, dict[str, str]]:
    """The declared colours, light and dark."""
    sheet = resources.files("reconciler.serve.ui").joinpath("static", "page.css").read_text("utf-8")
    found = [dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in re.findall(r":root \{(.*?)\}", sheet, re.DOTALL)]
    return dict(zip(("light", "dark"), found, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read_on_every_ground(scheme: str) -> None:
    colours = schemes()[scheme]
    pairs = [(text, ground) for text in TEXTS for ground in GROUNDS] + [("on-button", "button")]
    weak = {pair: round(contrast(colours[pair[0]], colours[pair[1]]), 2) for pair in pairs}
    assert {pair: ratio for pair, ratio in weak.items() if ratio < 4.5} == {}, "WCAG 2 AA"


def test_colours_are_declared_in_one_place() -> None:
    sheet = resources.files("reconciler.serve.ui").joinpath("static", "page.css").read_text("utf-8")
    rest = re.sub(r":root \{.*?\}", "", sheet, flags=re.DOTALL)
    assert re.findall(r"#[0-9a-fA-F]{3,8}\b", rest) == []
    assert set(schemes()["light"]) == set(schemes()["dark"])


async def test_files_of_the_page_are_kept_by_browsers(served: Served) -> None:
    page = Parsed((await served.http.get("/")).text)
    found = [str(attrs.get("src") or attrs.get("href")) for tag, attrs in page.elements if tag in ("script", "link")]
    assert len(found) == 3
    for path in found:
        answer = await served.http.get(path)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["content-security-policy"] == POLICY
    assert (await served.http.get("/static/../routes.py")).status_code == 404
    assert (await served.http.get("/static/%2e%2e%2froutes.py")).status_code == 404


async def test_what_is_wrong_where_things_are_declared_is_on_the_first_screen(served: Served) -> None:
    """A profile and a repository have no row of their own among lieutenants and trees."""
    trouble = {"reason": "CommitRefused", "message": f"commit c is not applied {EVIL}", "since": ""}
    served.engine.table.prunes.note("git/1", json.dumps({"url": "https://forge/fleet.git", "commit": "b", "trouble": trouble}))
    lieutenant_key = Key("Lieutenant", "default", "sleeper")
    item = served.engine.table.get(lieutenant_key)
    assert item is not None
    wrong = {"type": "DeclarationInvalid", "status": "True", "reason": "DeclarationInvalid", "message": "a.yaml:3:1: no such field"}
    await served.status(lieutenant_key, conditions=[*item.obj.status["conditions"], wrong])  # type: ignore[misc, list-item, dict-item]
    page = (await served.http.get("/")).text
    assert EVIL not in page
    text = Parsed(page).text
    assert "repository/https://forge/fleet.git CommitRefused: commit c is not applied" in text
    only = Parsed((await served.http.get("/", params={"standing": "needs-you"})).text).text
    assert "sleeper" in only
    assert "a.yaml:3:1: no such field" in only
