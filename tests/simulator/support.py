"""Simulated platforms for tests, and the platform a contract runs against."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncssh
import httpx2 as httpx

from reconciler.vers.simulator.service import Endpoints, Simulator, SimulatorConfig


async def until(condition: Callable[[], bool] | Callable[[], Awaitable[bool]], what: str) -> None:
    """Wait for a condition; the test's own timeout is the bound."""
    deadline = asyncio.get_running_loop().time() + 30
    while True:
        held = condition()
        if await held if isinstance(held, Awaitable) else held:
            return
        assert asyncio.get_running_loop().time() < deadline, f"never happened: {what}"
        await asyncio.sleep(0.01)


@dataclass
class Running:
    """A started simulator with a client for its API and one for its administrator."""

    simulator: Simulator
    endpoints: Endpoints
    api: httpx.AsyncClient
    admin: httpx.AsyncClient

    def now(self) -> float:
        """The platform's clock."""
        return self.simulator.world.clock()

    def set_clock(self, at: float) -> None:
        """From now on the platform's clock stands at `at`; don't wait for it to go on."""
        self.simulator.world.clock = lambda: at

    async def create(self, **config: object) -> str:
        answer = await self.api.post("/vm/new_root", json={"vm_config": config})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["vm_id"])

    async def run(self, vm_id: str, script: str, **more: object) -> str:
        """Output of a script in the guest; it has to succeed."""
        answer = await self.api.post(f"/vm/{vm_id}/exec", json={"command": ["/bin/sh", "-c", script], **more})
        assert answer.status_code == 200, answer.text
        assert answer.json()["exit_code"] == 0, answer.text
        return str(answer.json()["stdout"])

    async def listed(self) -> set[str]:
        return {row["vm_id"] for row in (await self.api.get("/vms")).json()}

    async def state(self, vm_id: str) -> str:
        return str((await self.api.get(f"/vm/{vm_id}/status")).json()["state"])

    async def ssh(self, vm_id: str, sni: str | None = None, key: str | None = None) -> asyncssh.SSHClientConnection:
        """Through TLS with the CA verified, as user root with the VM's own key."""
        if key is None:
            key = (await self.api.get(f"/vm/{vm_id}/ssh_key")).json()["ssh_private_key"]
        name = sni or f"{vm_id}.{self.endpoints.vm_domain}"
        host, port = self.endpoints.gateway.rsplit(":", 1)
        context = ssl.create_default_context(cafile=self.endpoints.ca)
        context.check_hostname = sni is None

        class Tunnel:
            async def create_connection(self, factory: Callable[[], asyncio.Protocol], _: str, __: int) -> object:
                loop = asyncio.get_running_loop()
                return await loop.create_connection(factory, host, int(port), ssl=context, server_hostname=name)

        return await asyncssh.connect(
            name,
            443,
            tunnel=Tunnel(),
            username="root",
            client_keys=[asyncssh.import_private_key(key)],
            agent_path=None,
            known_hosts=None,
            config=None,
        )


# verify=False below: plain http on loopback, and a TLS context that is never used costs more than the rest of a test


@asynccontextmanager
async def running(config: SimulatorConfig) -> AsyncIterator[Running]:
    simulator = Simulator()
    endpoints = await simulator.start(config)
    bearer = {"Authorization": f"Bearer {endpoints.api_key}"}
    async with (
        httpx.AsyncClient(base_url=f"{endpoints.url}/api/v1", headers=bearer, timeout=30, verify=False) as api,
        httpx.AsyncClient(
            base_url=endpoints.admin_url, headers={"Authorization": f"Bearer {endpoints.admin_token}"}, verify=False
        ) as admin,
    ):
        try:
            yield Running(simulator, endpoints, api, admin)
        finally:
            await simulator.stop()


Start = Callable[..., Awaitable[Running]]


@dataclass
class Platform:
    """What a contract test talks to. `api` is authenticated, `anonymous` is not; `made` VMs are deleted at the end."""

    api: httpx.AsyncClient
    anonymous: httpx.AsyncClient
    live: bool
    made: list[str]

    async def create(self) -> str:
        answer = await self.api.post("/vm/new_root?wait_boot=true", json={"vm_config": {"fs_size_mib": 1024}})
        assert answer.status_code == 201, answer.text
        vm_id = str(answer.json()["vm_id"])
        self.made.append(vm_id)
        return vm_id


@asynccontextmanager
async def platform_at(base: str, key: str, live: bool) -> AsyncIterator[Platform]:
    async with (
        httpx.AsyncClient(base_url=base, headers={"Authorization": f"Bearer {key}"}, timeout=300 if live else 30, verify=live) as api,
        httpx.AsyncClient(base_url=base, timeout=30, verify=live) as anonymous,
    ):
        platform = Platform(api, anonymous, live, [])
        try:
            yield platform
        finally:
            for vm_id in platform.made:
                await api.delete(f"/vm/{vm_id}")
