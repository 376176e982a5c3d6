"""A real, headless Chromium, and the pages of a fleet in it."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

from tests.serve.rig import TOKEN

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")


def program() -> str:
    """Where Chromium is; '' when there is none."""
    return os.environ.get("CHROMIUM") or next((found for name in PROGRAMS if (found := shutil.which(name))), "")


needs_chromium = pytest.mark.skipif(not program(), reason="there is no Chromium (Debian: apt-get install chromium)")


class Listens(Protocol):
    """Something that serves the page on this host."""

    @property
    def port(self) -> int: ...


@dataclass
class Tab:
    """One page of a fleet. `wrong`: what the browser complained about: scripts, and what the policy forbids."""

    page: Page
    base: str
    wrong: list[str] = field(default_factory=list)

    async def open(self, path: str) -> None:
        await self.page.goto(f"{self.base}{path}", wait_until="load")

    async def sign_in(self) -> None:
        await self.open("/login")
        await self.page.fill("#token", TOKEN)
        await self.page.press("#token", "Enter")
        await self.page.wait_for_selector("text=Sign out")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    arguments = ["--no-sandbox", "--disable-dev-shm-usage"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program(), args=arguments)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def tab(browser: Browser, served: Listens, **options: object) -> AsyncIterator[Tab]:
    """`options`: of the browser's context, such as `viewport` and `color_scheme`."""
    context = await browser.new_context(**options)  # type: ignore[arg-type]
    page = await context.new_page()
    page.set_default_timeout(20_000)
    found = Tab(page, f"http://127.0.0.1:{served.port}")

    def console(message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            found.wrong.append(message.text)

    page.on("console", console)
    page.on("pageerror", lambda error: found.wrong.append(str(error)))
    page.on("dialog", lambda dialog: found.wrong.append(f"a script ran: {dialog.message}"))
    try:
        yield found
    finally:
        await context.close()
