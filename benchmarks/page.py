"""The page of 2,000 lieutenants in a real Chromium: when something is first painted, and how many bytes came. `python -m benchmarks.page`

Every run is a browser context without a cache. Floor, in the same run: the page of one lieutenant, from the same server and browser, which
shows what the browser itself costs on this machine. Needs Chromium; without one it says so and measures nothing."""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from playwright.async_api import Browser

from benchmarks.common import Goal, Spread, judge, table
from tests.serve.browser import chromium, program
from tests.serve.rig import Served, fleet_served, large_fleet

OBJECTS = 2000
PAINT_SECONDS = 1.0
BYTES = 200_000
PAINTED = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


@dataclass(frozen=True, slots=True)
class Look:
    """One load of a page. `paint`: seconds until something was painted; `received`: bytes on the wire, heads too."""

    paint: float
    received: int


async def look(browser: Browser, served: Served, path: str = "/") -> Look:
    """Load the page once, with nothing cached."""
    context = await browser.new_context()
    try:
        page = await context.new_page()
        wire = await context.new_cdp_session(page)
        received = 0

        def finished(event: dict[str, float]) -> None:
            nonlocal received
            received += int(event["encodedDataLength"])

        wire.on("Network.loadingFinished", finished)
        await wire.send("Network.enable")
        await page.goto(f"http://127.0.0.1:{served.port}{path}", wait_until="load")
        await page.wait_for_function(f"() => {PAINTED} > 0")
        painted: float = await page.evaluate(PAINTED)
        return Look(painted / 1000, received)
    finally:
        await context.close()


async def measure(path: Path, objects: int, runs: int) -> tuple[list[Look], list[Look]]:
    """Looks at the fleet, and at the floor, in turn; the first of each is not counted."""
    large, small = fleet_served(path / "large", large_fleet(objects)), fleet_served(path / "small", large_fleet(1))
    looks: tuple[list[Look], list[Look]] = ([], [])
    async with chromium() as browser, large as fleet, small as floor:
        for _ in range(runs + 1):
            for found, served in zip(looks, (fleet, floor), strict=True):
                found.append(await look(browser, served))
    return looks[0][1:], looks[1][1:]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a smoke test")
    quick = parser.parse_args().quick
    if not program():
        print("the page was not measured: there is no Chromium (Debian: apt-get install chromium)")
        return 0
    with tempfile.TemporaryDirectory() as directory:
        for name in ("large", "small"):
            (Path(directory) / name).mkdir()
        looks, floors = asyncio.run(measure(Path(directory), OBJECTS, 2 if quick else 9))
    paint, floor = Spread.of([one.paint for one in looks]), Spread.of([one.paint for one in floors])
    received = max(one.received for one in looks)
    rows = [
        (f"{OBJECTS:,} lieutenants", paint.median * 1000, paint.low * 1000, paint.high * 1000, received),
        ("one (floor)", floor.median * 1000, floor.low * 1000, floor.high * 1000, max(one.received for one in floors)),
    ]
    table("First paint of the fleet's page", ("fleet", "ms", "min", "max", "bytes"), rows)
    goals = [
        Goal("first paint ÷ 1 s", paint.median / PAINT_SECONDS, 1.0, 0.5, at_least=False),
        Goal("bytes ÷ 200 kB", received / BYTES, 1.0, 0.5, at_least=False),
    ]
    return judge(goals)


if __name__ == "__main__":
    sys.exit(main())
