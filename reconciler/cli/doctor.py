"""`doctor`: what a controller needs, checked one by one; each line that is not well says how to mend it."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated

import typer

from reconciler import children
from reconciler.cli import kube, kubedoctor
from reconciler.cli.output import out
from reconciler.cli.remarks import Remark
from reconciler.config import Config
from reconciler.errors import NotFound, ReconcilerError, UsageError
from reconciler.visible import one_line

if TYPE_CHECKING:
    from reconciler.notify.settings import Sink

CLOCK_TOLERANCE = 5.0
"""Seconds between our clock and the platform's that need no remark."""


def doctor(
    config: Config,
    notify: Annotated[bool, typer.Option("--notify", help="Also send a test notice to every sink of the configuration.")] = False,
) -> None:
    """Check what a controller needs, and say what to fix.

    Key, API, clock, machines, Node and pi, git, store, whether the fleet is halted, state directory, each repository of the
    configuration (whether it answers and has what is followed; nothing is fetched), sinks of notices. With --kube:
    API server, kinds, your rights, whether an operator is alive, and your own key for the platform."""
    if notify and config.kube:
        raise UsageError("an operator's sinks are tried where it runs", "--notify", "leave it out, or leave --kube out")
    if notify and not config.notify:
        raise UsageError("no sink is declared", "--notify", "name the file that has some with --config")
    raise typer.Exit(asyncio.run(_examine_cluster(config) if config.kube else _examine(config, notify)))


async def _examine(config: Config, notify: bool) -> int:
    code = max([await _tell(name, check(config)) for name, check in CHECKS.items()])
    if "gitSource" in config.tables:
        from reconciler.cli.gitdoctor import checks

        for found in checks(config):
            code = max(code, await _tell("source", found))
    for sink in config.notify:
        code = max(code, await _tell("notices", _sink(config, sink, notify)))
    return code


async def _examine_cluster(config: Config) -> int:
    code = 0
    async with kube.connected(config) as cluster:
        for name, check in kubedoctor.CHECKS.items():
            code = max(code, await _tell(name, check(config, cluster)))
            if code and name == "server":
                return code
    await _tell("key", _own_key(config))
    return code


async def _tell(name: str, found: Awaitable[str]) -> int:
    """One line; returns 1 when something is wrong."""
    try:
        out(f"ok     {name:<8} {one_line(await found)}")
    except Remark as remark:
        out(f"note   {name:<8} {one_line(str(remark))}")
    except ReconcilerError as error:
        out(f"wrong  {name:<8} {one_line(str(error))}")
        return 1
    return 0


async def _own_key(config: Config) -> str:
    """With a cluster the operator has the platform's key; only some commands need one here."""
    try:
        return f"{await _key(config)}; {await _api(config)}"
    except ReconcilerError as error:
        what = f"no way to the platform from here: {error.what}; `get vm`, `orphans`, `exec` and `cp` need it"
        raise Remark(what, error.where, error.remedy) from error


async def _key(config: Config) -> str:
    from reconciler.vers.keys import Settings

    settings = Settings(config.environ)
    settings.access()
    return f"account {settings.account()}, from {settings.key_source()}"


async def _api(config: Config) -> str:
    from reconciler.vers.client import VersClient
    from reconciler.vers.keys import Settings

    settings = Settings(config.environ)
    client = VersClient(settings)
    try:
        listed = await client.list_vms()
    finally:
        await client.aclose()
    return f"{settings.url()}: {len(listed.vms)} VMs"


async def _clock(config: Config) -> str:
    """This host's clock beside the platform's."""
    from reconciler.vers.client import VersClient
    from reconciler.vers.keys import Settings

    settings = Settings(config.environ)
    client = VersClient(settings)
    try:
        told = (await client.list_vms()).server_time
    except ReconcilerError as error:
        raise Remark(f"the platform does not tell its time: {error.what}", error.where, error.remedy) from error
    finally:
        await client.aclose()
    if told is None:
        raise Remark("the platform does not tell its time", settings.url(), "look at this host's clock yourself")
    skew = told - time.time()
    if abs(skew) > CLOCK_TOLERANCE:
        raise Remark(
            f"this host's clock is {abs(skew):.0f} s {'behind' if skew > 0 else 'ahead of'} the platform's", settings.url(), "set it"
        )
    return f"this host's and the platform's differ by less than {CLOCK_TOLERANCE:g} s"


async def _git(config: Config) -> str:
    """Repositories as sources are read by the git program."""
    path = config.environ.get("PATH", os.defpath)
    if shutil.which("git", path=path) is None:
        raise Remark("git is not there; only fleets in a repository need it", path, "install git")
    told = await asyncio.to_thread(children.run, ("git", "--version"), {"PATH": path}, 10.0)
    return one_line(told.stdout.strip())


async def _gateway(config: Config) -> str:
    from reconciler.vers.keys import Settings

    endpoint = Settings(config.environ).endpoint("00000000-0000-4000-8000-000000000000")
    if not config.environ.get("RECONCILER_VM_GATEWAY"):
        return f"machines are dialled as VM_ID.{endpoint.sni.partition('.')[2]}:{endpoint.port}"
    try:
        async with asyncio.timeout(5.0):
            _, writer = await asyncio.open_connection(endpoint.host, endpoint.port)
    except OSError as error:
        raise NotFound(
            "nothing answers at the machines' gateway", f"{endpoint.host}:{endpoint.port}", "check RECONCILER_VM_GATEWAY"
        ) from error
    writer.close()
    return f"{endpoint.host}:{endpoint.port} answers"


async def _tools(config: Config) -> str:
    from reconciler.agent.toolchain import find_toolchain

    try:
        tools = await asyncio.to_thread(find_toolchain, config.environ, False)
    except ReconcilerError as error:
        raise Remark(f"{error.what}; only agents on this host and the simulator need it", error.where, error.remedy) from error
    return ", ".join(f"{name} {version} ({tools.origin.get(name, '')})" for name, version in tools.versions.items())


async def _local(config: Config) -> str:
    """Agents on this host: whether they may run, with which Node and pi, and where."""
    from reconciler.agent.toolchain import find_toolchain

    if not config.allow_local:
        return "agents may not run on this host; --allow-local lets them"
    tools = await asyncio.to_thread(find_toolchain, config.environ, False)
    told = ", ".join(f"{name} {version} ({tools.origin.get(name, '')})" for name, version in tools.versions.items())
    count = sum(1 for path in config.agents_dir.iterdir() if path.is_dir()) if config.agents_dir.is_dir() else 0
    return f"agents may run on this host with {told}; {count} in {config.agents_dir}"


async def _store(config: Config) -> str:
    from reconciler.store.sqlstore import open_store

    try:
        store = open_store(config.store_address, inline=True, read_only=True)
    except NotFound:
        return "none yet; the first write makes it"
    try:
        return f"{store.where}: {len(await store.objects())} objects"
    finally:
        await store.aclose()


async def _fleet(config: Config) -> str:
    """Whether `halt` is in force."""
    from reconciler.cli.access import LET_GO_ON, halted_since
    from reconciler.store.sqlstore import open_store

    try:
        store = open_store(config.store_address, inline=True, read_only=True)
    except NotFound:
        return "not halted"
    try:
        at = await halted_since(store)
    finally:
        await store.aclose()
    if at:
        raise Remark(f"halted since {at}: nothing is created and nothing is delivered", store.where, LET_GO_ON)
    return "not halted"


async def _sink(config: Config, sink: Sink, send: bool) -> str:
    """Whether its values are there and fit, and its program is; `send`: and whether it takes a notice."""
    from reconciler.app import secrets_of
    from reconciler.core.notices import cloud_event, trial
    from reconciler.notify.ways import Values, examine, way_of

    way = way_of(sink, Values(secrets_of(config), config.environ), config.environ, time.time)
    try:
        examine(way)
        if send:
            await way.deliver(cloud_event(trial(sink.name, time.time()), "", config.fleet))
    finally:
        await way.aclose()
    return f"{sink.name}: {sink.kind}" + (": it took a test notice" if send else "; --notify tries it")


async def _state(config: Config) -> str:
    from reconciler.store.lock import holder

    if not config.state.exists():
        return f"{config.state} is not there yet; it is made when needed"
    mode = stat.S_IMODE(config.state.stat().st_mode)
    if mode & 0o077:
        raise Remark(f"others may look into the state directory (mode {mode:04o})", str(config.state), f"`chmod 700 {config.state}`")
    pid = holder(config.state)
    return f"{config.state}: " + ("no controller runs" if pid is None else f"controller {pid} runs")


CHECKS: dict[str, Callable[[Config], Awaitable[str]]] = {
    "key": _key,
    "api": _api,
    "clock": _clock,
    "machines": _gateway,
    "tools": _tools,
    "local": _local,
    "git": _git,
    "store": _store,
    "fleet": _fleet,
    "state": _state,
}
