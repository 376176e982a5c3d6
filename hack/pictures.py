"""Makes docs/pictures: the page of a small fleet in a headless Chromium. Run `python -m hack.pictures` where Chromium is."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from reconciler.engine.ports import Event
from tests.serve.browser import chromium, program, tab
from tests.serve.rig import NOW, TALK, Key, fleet_served, small_fleet

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
SHOTS = (
    ("fleet", "/", {"color_scheme": "light", "viewport": {"width": 1100, "height": 560}}),
    ("fleet-dark", "/", {"color_scheme": "dark", "viewport": {"width": 1100, "height": 560}}),
    ("lieutenant", "/lieutenants/default/api", {"color_scheme": "light", "viewport": {"width": 1100, "height": 900}}),
    ("phone", "/", {"color_scheme": "light", "viewport": {"width": 390, "height": 760}, "device_scale_factor": 1}),
)


async def main() -> None:
    await asyncio.to_thread(PICTURES.mkdir, parents=True, exist_ok=True)
    api = Key("Lieutenant", "default", "api")
    events = [Event(api, "uid-1", "Warning", "SessionDiverged", "the two ends of the conversation differ: choose one", NOW)]
    with tempfile.TemporaryDirectory() as directory:
        fleet = fleet_served(Path(directory), small_fleet(), events, [("s-1", TALK)])
        async with chromium() as browser, fleet as served:
            for name, path, options in SHOTS:
                async with tab(browser, served, **options) as shown:
                    await shown.sign_in()
                    await shown.open(path)
                    await shown.page.wait_for_function("() => document.getElementById('connection').textContent === 'live'")
                    await shown.page.screenshot(path=PICTURES / f"{name}.png")


if __name__ == "__main__":
    if not program():
        sys.exit("error: there is no Chromium: apt-get install chromium")
    asyncio.run(main())
