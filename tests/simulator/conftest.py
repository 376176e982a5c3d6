"""A simulated platform per test, and the platform a contract runs against: the simulator, or the live one where a key is given."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace

import pytest

from reconciler.vers.simulator.isolated import missing_for_isolation
from reconciler.vers.simulator.service import SimulatorConfig
from tests.simulator.support import Platform, Running, platform_at, running

LIVE_KEY = "RECONCILER_CONTRACT_API_KEY"  # a key whose account may be changed by tests
LIVE_URL = "RECONCILER_CONTRACT_BASE_URL"

Start = Callable[..., Awaitable[Running]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """`await start(guests="stub", …)`: any number of simulators, stopped with the test."""
    async with AsyncExitStack() as stack:

        async def begin(**config: object) -> Running:
            return await stack.enter_async_context(running(replace(SimulatorConfig(guests="stub"), **config)))  # type: ignore[arg-type]

        yield begin


@pytest.fixture
def bwrap() -> None:
    """For tests of isolated guests: skipped with a reason where they can't be, but never in CI."""
    missing = missing_for_isolation()
    if missing and os.environ.get("CI"):
        pytest.fail(f"isolated guests are required in CI; {missing}")
    if missing:
        pytest.skip(missing)


@pytest.fixture(params=["simulator", "live"])
async def platform(request: pytest.FixtureRequest) -> AsyncIterator[Platform]:
    """The same contract for both; the live one needs a key."""
    if request.param == "live":
        key = os.environ.get(LIVE_KEY)
        if not key:
            pytest.skip(f"set {LIVE_KEY} to run the contract against the live platform")
        base = os.environ.get(LIVE_URL, "https://api.vers.sh").rstrip("/") + "/api/v1"
        async with platform_at(base, key, True) as live:
            yield live
        return
    async with (
        running(SimulatorConfig(guests="stub")) as simulated,
        platform_at(f"{simulated.endpoints.url}/api/v1", simulated.endpoints.api_key, False) as platform,
    ):
        yield platform
