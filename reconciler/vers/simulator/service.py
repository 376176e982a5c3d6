"""Start and stop a simulated platform: in a program of one's own, or as `reconciler simulate`."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import shlex
import signal
import sqlite3
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Literal

import orjson

from reconciler import children
from reconciler.errors import UsageError
from reconciler.vers.simulator import certs, limits
from reconciler.vers.simulator.admin import Admin
from reconciler.vers.simulator.api import Api
from reconciler.vers.simulator.durable import Durable
from reconciler.vers.simulator.ending import run_to_the_end
from reconciler.vers.simulator.execs import Execs
from reconciler.vers.simulator.faults import parse_fault
from reconciler.vers.simulator.gateway import Gateway
from reconciler.vers.simulator.guests import Guests, StubGuests
from reconciler.vers.simulator.image import GuestImage, default_node_dir
from reconciler.vers.simulator.isolated import IsolatedGuests, missing_for_isolation
from reconciler.vers.simulator.knobs import Knobs, turn
from reconciler.vers.simulator.machines import Machines
from reconciler.vers.simulator.ports import Ports, listen
from reconciler.vers.simulator.processes import ProcessGuests
from reconciler.vers.simulator.records import Account
from reconciler.vers.simulator.routes import OPERATIONS
from reconciler.vers.simulator.server import Server
from reconciler.vers.simulator.world import World

log = logging.getLogger(__name__)

VM_DOMAIN = "vm.localhost"
SETTLE_SECONDS = "3"
"""A controller's settle window here: nothing shows up as late as on the real platform."""
GuestKind = Literal["auto", "isolated", "process", "stub"]


@dataclass(frozen=True, slots=True)
class SimulatorConfig:
    """`port` and `gateway_port` 0: the one that `data` had before, else a free one. `data` None: everything is gone at the end.
    `guests` auto: isolated where that is possible, else process. `latency`: operation → seconds. `faults`: specs as in
    `faults.parse_fault`. `seed` None: other ids each time. `clock`: seconds since the epoch."""

    host: str = "127.0.0.1"
    port: int = 0
    gateway_port: int = 0
    data: Path | None = None
    guests: GuestKind = "auto"
    image: GuestImage = field(default_factory=lambda: GuestImage(default_node_dir()))
    knobs: Knobs = field(default_factory=Knobs)
    latency: dict[str, float] = field(default_factory=dict)
    faults: tuple[str, ...] = ()
    seed: int | None = None
    env_file: Path | None = None
    clock: Callable[[], float] = time.time


@dataclass(frozen=True, slots=True)
class Endpoints:
    """How to reach it. `url`: VERS_BASE_URL; `gateway`: host:port of the VMs' front; `ca`: file with the CA of its certificate;
    `admin_url` takes `admin_token` as bearer or as Basic password."""

    url: str
    api_key: str = field(repr=False)
    gateway: str
    vm_domain: str
    ca: str
    admin_url: str
    admin_token: str = field(repr=False)

    def line(self) -> str:
        """The one JSON line of `reconciler simulate`; `admin` carries its credential as user info."""
        scheme, _, rest = self.admin_url.partition("://")
        admin = f"{scheme}://admin:{self.admin_token}@{rest}"
        row = {"url": self.url, "apiKey": self.api_key, "gateway": self.gateway, "vmDomain": self.vm_domain, "ca": self.ca, "admin": admin}
        return orjson.dumps(row).decode()

    def environment(self) -> dict[str, str]:
        return {
            "VERS_API_KEY": self.api_key,
            "VERS_BASE_URL": self.url,
            "RECONCILER_VM_GATEWAY": self.gateway,
            "RECONCILER_VM_DOMAIN": self.vm_domain,
            "RECONCILER_VM_CA": self.ca,
        }


def configure(
    listen: str = "127.0.0.1:0",
    data: Path | None = None,
    env_file: Path | None = None,
    guests: GuestKind = "auto",
    latencies: tuple[str, ...] = (),
    faults: tuple[str, ...] = (),
    knobs: tuple[str, ...] = (),
    seed: int | None = None,
) -> SimulatorConfig:
    """A configuration from the command line's words (`HOST:PORT`, `OP=S`, `OP:NTH:…`, `NAME=VALUE`); raises `UsageError`."""
    host, separator, port = listen.rpartition(":")
    if not separator or not port.isdigit() or int(port) > 65535:
        raise UsageError("not an address", f"--listen {listen}", "HOST:PORT, e.g. 127.0.0.1:8080")
    delays: dict[str, float] = {}
    for setting in latencies:
        op, _, seconds = setting.partition("=")
        try:
            delays[op] = float(seconds)
        except ValueError:
            delays[op] = -1
        if op not in OPERATIONS | {"*"} or not 0 <= delays[op] < 1e6:
            raise UsageError("malformed latency", f"--latency {setting}", f"OP=SECONDS, OP one of *, {', '.join(sorted(OPERATIONS))}")
    for spec in faults:
        parse_fault(spec, OPERATIONS)
    config = SimulatorConfig(host.strip("[]") or "127.0.0.1", int(port), 0, data, guests)
    return replace(config, knobs=turn(Knobs(), knobs), latency=delays, faults=faults, seed=seed, env_file=env_file)


class Simulator:
    """One simulated platform. `world` and `api` are there for tests to judge by once started."""

    def __init__(self) -> None:
        self._directory: Path | None = None
        self._temporary = False
        self._server: Server | None = None
        self._gateway: Gateway | None = None
        self._machines: Machines | None = None
        self._execs: Execs | None = None
        self._durable: Durable | None = None
        self.guests: Guests | None = None

    async def start(self, config: SimulatorConfig) -> Endpoints:
        """Everything up, and VMs of a data directory running again. Raises `UsageError` for what can't be had (an address, bwrap
        asked for and missing); nothing is left behind then."""
        try:
            return await self._start(config)
        except OSError as exc:
            await self.stop()
            where = f"{config.host}:{config.port}" if exc.filename is None else str(exc.filename)
            raise UsageError(f"the simulator could not start: {exc.strerror or exc}", where, "another --listen or --data") from exc
        except sqlite3.Error as exc:
            await self.stop()
            raise UsageError(f"the data directory can't be read: {exc}", f"--data {config.data}", "another directory") from exc
        except UsageError:
            await self.stop()
            raise

    async def _start(self, config: SimulatorConfig) -> Endpoints:
        directory = await asyncio.to_thread(self._prepare, config)
        account, seed = self._account(config, directory)
        world = self.world = World(account, config.clock, seed, config.knobs, certs.private_key)
        if config.guests != "stub":
            world.most_vms = limits.GUESTS
        if self._durable is not None:
            self._durable.load(world)
        api = self.api = Api(world, config.latency)
        for spec in config.faults:
            api.faults.add(parse_fault(spec, OPERATIONS))
        guests = self.guests = _guests(config, directory)
        self._gateway = Gateway(world, guests, api.faults)
        self._execs = Execs(guests, config.clock, lambda: str(uuid.uuid4()), world.stamp)
        self._machines = Machines(world, guests, self._gateway, self._execs.forget)
        token = secrets.token_urlsafe(24)
        self._server = Server(api, Admin(api, token), token, self._machines, self._execs, self._durable, guests.kind)
        context, ca = await asyncio.to_thread(certs.gateway_context, directory, VM_DOMAIN)
        kept = Ports() if self._durable is None else self._durable.ports()
        gateway_port = await listen(
            partial(self._gateway.start, config.host, context=context), config.gateway_port, kept.gateway, "the machines' gateway"
        )
        await self._machines.reboot()
        present = sum(1 for vm in world.present.values() if vm.owner != account.key_id)
        for _ in range(config.knobs.foreign_vms - present):
            world.add_foreign()
        self._server.collect()
        port = await listen(partial(self._server.start, config.host), config.port, kept.api, "the API")
        if self._durable is not None:
            self._durable.keep_ports(Ports(port, gateway_port))
        host = f"[{config.host}]" if ":" in config.host else config.host
        url = f"http://{host}:{port}"
        key = account.key_id + account.secret
        endpoints = Endpoints(url, key, f"{host}:{gateway_port}", VM_DOMAIN, str(ca), f"{url}/admin", token)
        if config.env_file is not None:
            await asyncio.to_thread(_write_env, config.env_file, endpoints)
        return endpoints

    def _prepare(self, config: SimulatorConfig) -> Path:
        self._temporary = config.data is None
        if config.data is None:
            self._directory = Path(tempfile.mkdtemp(prefix="vers-sim-"))
        else:
            config.data.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._directory = config.data.resolve()
        return self._directory

    def _account(self, config: SimulatorConfig, directory: Path) -> tuple[Account, int]:
        if config.data is not None:
            self._durable = Durable(directory / "world.db")
            kept = self._durable.account()
            if kept is not None:
                return kept
        seed = secrets.randbits(48) if config.seed is None else config.seed
        account = Account(str(uuid.uuid4()), secrets.token_hex(32), config.clock())
        if self._durable is not None:
            self._durable.found(account, seed)
        return account, seed

    async def stop(self) -> None:
        """Guests are ended (those of a data directory come back with it), listeners closed, a temporary directory removed."""
        deadline = asyncio.get_running_loop().time() + limits.STOP_S
        clients = [part for part in (self._server, self._gateway, self._execs) if part is not None]
        await asyncio.gather(*(_bounded(part.stop(), type(part).__name__) for part in clients))
        if self._machines is not None:
            await _bounded(self._machines.stop(), type(self._machines).__name__)
        if self._durable is not None:
            if self._machines is not None:
                self._durable.save(self.world)
            self._durable.close()
        if self._temporary and self._directory is not None:
            await _remove(self._directory, deadline)
        self._server = self._gateway = self._execs = self._machines = self._durable = self._directory = None

    # --- for tests and demonstrations --------------------------------------------------------------------------------------------

    def add_fault(self, spec: str) -> None:
        """As `--fault`; raises `UsageError`."""
        self.api.faults.add(parse_fault(spec, OPERATIONS))

    def clear_faults(self) -> None:
        self.api.faults.clear()

    def set_knobs(self, *settings: str) -> None:
        """As `--knob`, from now on; raises `UsageError`."""
        self.world.knobs = turn(self.world.knobs, settings)

    async def do(self, deed: Callable[[World], object]) -> None:
        """Change the world behind its clients' backs, e.g. `do(lambda world: world.kill(vm_id))`; returns when guests followed."""
        assert self._server is not None
        assert self._machines is not None
        deed(self.world)
        await self._machines.apply(self._server.collect())
        self._server.collect()


async def _bounded(stopping: Coroutine[None, None, None], what: str) -> None:
    """A stop takes no longer because something in a guest does not end."""
    try:
        async with asyncio.timeout(limits.STOP_PART_S):
            await stopping
    except TimeoutError:
        log.warning("%s did not stop within %g s; what is left of it ends with this process", what, limits.STOP_PART_S)


async def _remove(directory: Path, deadline: float) -> None:
    """A program of its own does it, which goes on by itself when there is much to remove."""
    process = await children.start(("rm", "-rf", "--", str(directory)), {"PATH": os.defpath, "LC_ALL": "C"})
    try:
        async with asyncio.timeout_at(deadline):
            await process.wait()
    except TimeoutError:
        log.warning("%s is still being removed", directory)


def _guests(config: SimulatorConfig, directory: Path) -> Guests:
    missing = missing_for_isolation()
    match config.guests:
        case "stub":
            return StubGuests()
        case "isolated" if missing:
            raise UsageError("guests can't be isolated here", missing, "install it, or --guests process")
        case "process":
            return ProcessGuests(directory, config.image)
        case "auto" if missing:
            log.warning("guests are plain directories and share this host: %s", missing)
            return ProcessGuests(directory, config.image)
    return IsolatedGuests(directory, config.image)


def _write_env(path: Path, endpoints: Endpoints) -> None:
    """Lines for a shell to source, 0600 from its first byte. The beginning of the key names the platform: its fleet has a state directory
    of its own."""
    told = {**endpoints.environment(), "RECONCILER_SIMULATED": endpoints.api_key[:8], "RECONCILER_SETTLE_SECONDS": SETTLE_SECONDS}
    lines = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in told.items())
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(lines)
    fresh.rename(path)


async def serve(config: SimulatorConfig) -> None:
    """Until SIGTERM or SIGINT; prints the JSON line on stdout when ready."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    simulator = Simulator()
    endpoints = await simulator.start(config)
    try:
        sys.stdout.write(endpoints.line() + "\n")
        sys.stdout.flush()
        await stopped.wait()
    finally:
        await simulator.stop()


def run(config: SimulatorConfig) -> int:
    """The command `reconciler simulate`; returns its exit code. Raises `UsageError`."""
    run_to_the_end(serve(config))
    return 0
