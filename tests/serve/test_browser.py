"""The page in a real Chromium: every screen, live, by keyboard, on a phone, with a fleet that is hostile and one that is large."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser

from reconciler.core.keys import Key
from reconciler.engine.ports import Event
from tests.serve.browser import chromium, needs_chromium, tab
from tests.serve.rig import NOW, TALK, conditions, fleet_served, large_fleet, lieutenant, said, small_fleet
from tests.serve.test_page import EVIL, PATHS, hostile_fleet

pytestmark = [pytest.mark.slow, needs_chromium]

DOCS = Key("Lieutenant", "default", "docs")
PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as found:
        yield found


async def widths(page: Any) -> tuple[int, int]:
    """Of the content, and of the window."""
    found: list[int] = await page.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
    return found[0], found[1]


@pytest.mark.guarantee("G-64")
@pytest.mark.parametrize("options", [{}, PHONE, {"color_scheme": "dark"}], ids=["desk", "phone", "dark"])
async def test_every_screen_is_shown_without_a_complaint(tmp_path: Path, browser: Browser, options: dict[str, Any]) -> None:
    events = [Event(DOCS, "uid-3", "Warning", "Crashed", "it ended " + "x" * 300, NOW)]
    async with fleet_served(tmp_path, small_fleet(), events, [("s-1", TALK)]) as served, tab(browser, served, **options) as shown:
        await shown.sign_in()
        for path in PATHS:
            await shown.open(path)
            assert await shown.page.locator("h1").count() == 1
            content, window = await widths(shown.page)
            assert content <= window, f"{path} is wider than the window"
            if path not in ("/login", "/plan"):
                await shown.page.wait_for_function("() => document.getElementById('connection').textContent === 'live'")
        assert shown.wrong == []


async def test_the_fleet_is_live_and_nothing_jumps(tmp_path: Path, browser: Browser) -> None:
    async with fleet_served(tmp_path, [*small_fleet(), *large_fleet(40)]) as served, tab(browser, served) as shown:
        page = shown.page
        await shown.open("/")
        await page.wait_for_function("() => document.getElementById('connection').textContent === 'live'")
        await page.focus("a[data-row][href='/lieutenants/default/lt-0005']")
        place = "(() => { const one = document.activeElement; return [one.textContent, Math.round(one.getBoundingClientRect().top)]; })()"
        before = await page.evaluate(place)
        await served.status(DOCS, conditions=conditions("True", "Applied", "it rests"))
        await page.wait_for_selector("tr#r-Lieutenant-default-docs >> text=it rests")
        assert await page.evaluate(place) == before, "who is on a row stays on it, and it stays where it is"
        await served.status(DOCS, phase="Working", conditions=conditions("True", "Steady", "it works on the manual"))
        await page.wait_for_selector("tr#r-Lieutenant-default-docs .standing.working")
        assert (await page.evaluate(place))[0] == "lt-0005"
        await page.wait_for_selector("#chips a.working b:text-is('10')")
        shift = (
            "new Promise(r => new PerformanceObserver(l => r(l.getEntries().reduce((s, e) => s + e.value, 0)))"
            ".observe({type: 'layout-shift', buffered: true}) || setTimeout(() => r(0), 500))"
        )
        assert await page.evaluate(shift) < 0.1
        assert shown.wrong == []


async def test_a_conversation_grows_while_somebody_looks(tmp_path: Path, browser: Browser) -> None:
    async with fleet_served(tmp_path, small_fleet(), talks=[("s-1", TALK)]) as served, tab(browser, served) as shown:
        page = shown.page
        await shown.open("/lieutenants/default/api")
        await page.wait_for_function("() => document.getElementById('connection').textContent === 'live'")
        fold = page.locator("details").first
        assert await fold.get_attribute("open") is None
        await fold.locator("summary").click()
        await served.say("s-1", said("assistant", "Now the tests are <b>green</b>."))
        await served.engine.record_event(Key("Lieutenant", "default", "api"), "uid-1", "Landed", "it answered")
        await page.wait_for_selector("#talk >> text=Now the tests are <b>green</b>.")
        assert await page.locator("details").first.get_attribute("open") is not None, "what was unfolded stays so"
        assert await page.evaluate("(t => t.scrollHeight - t.scrollTop - t.clientHeight < 40)(document.getElementById('talk'))")
        await page.wait_for_selector("#events >> text=it answered")
        assert shown.wrong == []


async def test_a_connection_that_broke_is_made_again(tmp_path: Path, browser: Browser) -> None:
    async with fleet_served(tmp_path, small_fleet()) as served, tab(browser, served) as shown:
        await shown.open("/")
        await shown.page.wait_for_function("() => document.getElementById('connection').textContent === 'live'")
        for one in list(served.surface.hub._followers):
            one.dropped = True
            one.woken.set()
        await served.status(DOCS, phase="Stalled", conditions=conditions("False", "SessionDiverged", stalled=True))
        await shown.page.wait_for_selector("tr#r-Lieutenant-default-docs .standing.needs-you")


async def test_the_keyboard_is_enough(tmp_path: Path, browser: Browser) -> None:
    async with fleet_served(tmp_path, small_fleet(), talks=[("s-1", TALK)]) as served, tab(browser, served) as shown:
        page = shown.page
        await shown.open("/")
        focused = "document.activeElement.textContent"
        names = []
        for _ in range(3):
            await page.keyboard.press("j")
            names.append(await page.evaluate(focused))
        await page.keyboard.press("k")
        assert [*names, await page.evaluate(focused)] == ["api", "web", "docs", "web"]
        await page.keyboard.press("?")
        assert await page.locator("#help").is_visible()
        await page.keyboard.press("Escape")
        assert not await page.locator("#help").is_visible()
        await page.keyboard.press("/")
        await page.keyboard.type("sleeper")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/?q=sleeper*")
        await page.keyboard.press("j")
        await page.keyboard.press("Enter")
        await page.wait_for_url("**/lieutenants/default/sleeper")
        await page.keyboard.press("u")
        await page.wait_for_url(f"{shown.base}/")
        assert shown.wrong == []


async def test_filters_are_in_the_address_and_come_back(tmp_path: Path, browser: Browser) -> None:
    async with fleet_served(tmp_path, small_fleet()) as served, tab(browser, served) as shown:
        page = shown.page
        await shown.open("/?q=e")
        await page.click("#chips a.asleep")
        assert page.url == f"{shown.base}/?q=e&standing=asleep"
        assert await page.locator("tr.row").count() == 1
        await page.fill("#search", "nobody")
        await page.press("#search", "Enter")
        await page.wait_for_url("**standing=asleep**")
        assert "q=nobody" in page.url
        await page.go_back()
        assert await page.locator("tr.row").count() == 1


async def test_work_is_sent_suspended_and_cancelled_from_the_page(tmp_path: Path, browser: Browser) -> None:
    async with fleet_served(tmp_path, small_fleet()) as served, tab(browser, served) as shown:
        page = shown.page
        await shown.open("/lieutenants/default/docs")
        assert await page.locator("#prompt").count() == 0, "without a token it is read only"
        await shown.sign_in()
        await shown.open("/lieutenants/default/docs")
        await page.fill("#prompt", "Write <b>it</b> down")
        await page.click("text=Send")
        await page.wait_for_selector("text=docs: sent")
        made = [item.obj for item in served.engine.table.of_kind("Task") if item.obj.spec["prompt"] == "Write <b>it</b> down"]
        assert len(made) == 1
        await page.click("button:text-is('Suspend')")
        await page.wait_for_selector("text=docs: declared Suspended")
        item = served.engine.table.get(DOCS)
        assert item is not None
        assert item.obj.spec["mode"] == "Suspended"
        await shown.open(f"/tasks/default/{made[0].key.name}")
        await page.click("button:text-is('Cancel')")
        await page.wait_for_selector("text=: cancelled")
        await page.click("text=Sign out")
        await page.wait_for_selector("text=Read only")
        assert shown.wrong == []


@pytest.mark.guarantee("G-64")
async def test_nothing_that_an_agent_says_runs(tmp_path: Path, browser: Browser) -> None:
    events = [Event(Key("Lieutenant", "default", "api"), "uid-1", "Warning", EVIL, EVIL, NOW)]
    talk = said("user", EVIL) + said("assistant", EVIL, calls=[{"id": "c", "name": EVIL, "arguments": {"path": EVIL}}])
    talk += said("toolResult", EVIL, toolCallId="c")
    fleet = fleet_served(tmp_path, hostile_fleet(), events, [("s-1", talk)])  # type: ignore[arg-type]
    async with fleet as served, tab(browser, served) as shown:
        for path in PATHS:
            await shown.open(path)
        await shown.open("/lieutenants/default/api")
        await shown.page.wait_for_function("() => document.getElementById('connection').textContent === 'live'")
        await served.say("s-1", said("assistant", EVIL + " and again"))
        await served.engine.record_event(Key("Lieutenant", "default", "api"), "uid-1", "Landed", EVIL)
        await shown.page.wait_for_selector("#talk >> text=and again")
        assert await shown.page.locator("main img, main script").count() == 0
        assert shown.wrong == []


@pytest.mark.guarantee("G-65")
async def test_30_megabytes_of_conversation_are_looked_at(tmp_path: Path, browser: Browser) -> None:
    talk = b"".join(said("assistant", f"{number} " + "w" * 30_000) for number in range(1000))
    async with fleet_served(tmp_path, small_fleet(), talks=[("s-1", talk)]) as served, tab(browser, served) as shown:
        page = shown.page
        await shown.open("/lieutenants/default/api")
        assert (await page.locator("#talk .text").last.inner_text()).startswith("999 ")
        await page.click("text=Earlier")
        assert (await page.locator("#talk .text").last.inner_text()).startswith("959 ")
        assert len(await page.content()) < 600_000
        assert shown.wrong == []


@pytest.mark.guarantee("G-65")
async def test_2000_objects_are_paged_and_found(tmp_path: Path, browser: Browser) -> None:
    found = replace(lieutenant(7, "Idle", name="needle"), uid="uid-needle")
    async with fleet_served(tmp_path, [*large_fleet(2000), found]) as served, tab(browser, served, **PHONE) as shown:
        page = shown.page
        await shown.open("/")
        assert await page.locator("tr.row").count() == 100
        await page.click("text=Next")
        await page.wait_for_url("**page=2**")
        await page.fill("#search", "needle")
        await page.press("#search", "Enter")
        await page.wait_for_url("**q=needle**")
        assert await page.locator("tr.row").count() == 1
        content, window = await widths(page)
        assert content <= window
        assert shown.wrong == []
