"""What our side does in a machine before its keeper answers: fixed scripts, and where things lie there.

Scripts take every value from standard input, one a line; none of it is ever code (G-61)."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import tarfile
import tempfile
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Final

from reconciler.agent import clock
from reconciler.agent.protocol import KEEPER_VERSION
from reconciler.agent.toolchain import NODE_MIN, PI_TESTED, Package, version_tuple
from reconciler.agent.transport import FixedScript
from reconciler.core.keys import as_strings
from reconciler.core.profile.localize import local_dir
from reconciler.core.snapshot.agent import Guest
from reconciler.errors import GuestFailed

BASE: Final = "/var/lib/reconciler"
_SOCKET_ROOM: Final = 100  # bytes, under the 107 of a socket's address


@dataclass(frozen=True, slots=True)
class KeeperLimits:
    """Bounds of what a keeper keeps on disk: its event journal (segments of so many bytes), and the size of a session file from
    which on it stops reading pi rather than lose a message (G-26)."""

    segment_bytes: int = 1 << 20
    segments: int = 8
    session_bytes: int = 1 << 30


@dataclass(frozen=True, slots=True)
class GuestLayout:
    """Where a keeper lives. `base`: its directory (state, journals, marks, claim, program); `socket`: '' for `sock` in it;
    `own_clock`: whether the machine has a clock of its own that may be set."""

    base: str = BASE
    socket: str = ""
    own_clock: bool = True
    limits: KeeperLimits = field(default_factory=KeeperLimits)

    @property
    def socket_path(self) -> str:
        return self.socket or f"{self.base}/sock"


def local_layout(directory: Path, name: str, limits: KeeperLimits | None = None) -> GuestLayout:
    """A place of its own under `directory` for an agent on this host. `name` is hashed, because a socket's path is short; where
    even that is too long the socket moves to the temporary directory."""
    base = Path(local_dir(str(directory.absolute()), name))
    socket = base / "sock"
    if len(os.fsencode(socket)) > _SOCKET_ROOM:
        socket = Path(tempfile.gettempdir(), f"reconciler-{os.getuid()}-{base.name}", "sock")
    return GuestLayout(str(base), str(socket), own_clock=False, limits=limits or KeeperLimits())


def lines(*values: str) -> bytes:
    """Standard input of a script. Raises `GuestFailed` for a value that is no line."""
    for value in values:
        if "\n" in value or "\0" in value:
            raise GuestFailed("a value for a script has a line break in it", remedy="use a path without one")
    return "".join(f"{value}\n" for value in values).encode()


# --- looking ----------------------------------------------------------------------------------------------------------------

INSPECT: Final = FixedScript(r"""
read -r base
PATH="$base/bin:/usr/local/bin:$PATH"
file() { [ -r "$2" ] && printf '%s %s\n' "$1" "$(base64 < "$2" | tr -d '\n')"; }
pi_version() {
  at=$(command -v pi) || return 0
  package=$(dirname "$(readlink -f "$at")")/../../package.json
  if grep -q '"@earendil-works/pi-coding-agent"' "$package" 2>/dev/null; then
    home=$(dirname "$package")
    [ -d "$home/node_modules/jiti" ] || [ -d "$home/../node_modules/jiti" ] || [ -d "$home/../../jiti" ] || return 0
    sed -n 's/^[[:space:]]*"version": *"\([^"]*\)".*/\1/p' "$package" | head -n 1
  else
    PI_OFFLINE=1 PI_SKIP_VERSION_CHECK=1 pi --version </dev/null 2>/dev/null | head -n 1
  fi
}
printf 'clock %s\n' "$(date +%s.%N)"
printf 'machine %s\n' "$(uname -m)"
printf 'node %s\n' "$(node --version 2>/dev/null)"
printf 'pi %s\n' "$(pi_version)"
[ -r "$base/keeper/main.mjs" ] && printf 'keeper %s\n' "$(basename "$(readlink -f "$base/keeper")")"
file claim "$base/claim.json"
file marks "$base/marks.json"
printf 'until %s\n' "$(date +%s.%N)"
exit 0
""")


@dataclass(frozen=True, slots=True)
class Found:
    """What `INSPECT` printed. `node`, `pi`: None where missing or not fit for use. `machine`: as `uname -m` says it."""

    guest: Guest
    machine: str


def parse_inspect(output: bytes, asked_at: float, answered_at: float) -> Found:
    """Read `INSPECT`'s output; the two times are the controller's clock around it. Unreadable claims and marks read as none. Raises
    `GuestFailed` when the clock is missing: that was not our script."""
    said: dict[str, str] = {}
    for line in output.decode(errors="replace").splitlines():
        name, _, value = line.partition(" ")
        said[name] = value.strip()
    measured = clock.skew(said.get("clock", ""), said.get("until", ""), asked_at, answered_at)
    keeper = said.get("keeper", "")
    claim = _strings(said.get("claim", ""))
    guest = Guest(
        clock_skew=measured.ahead,
        clock_uncertainty=measured.uncertainty,
        claim=claim or None,
        node=said["node"] if version_tuple(said.get("node", "")) >= NODE_MIN else None,
        pi=said["pi"] if said.get("pi", "") in PI_TESTED else None,
        keeper=keeper.removeprefix("keeper-") or None,
        marks=_strings(said.get("marks", "")),
    )
    return Found(guest, said.get("machine", ""))


def _strings(encoded: str) -> dict[str, str]:
    try:
        value = json.loads(base64.b64decode(encoded, validate=True))
        return as_strings(value)
    except (ValueError, RecursionError):
        return {}


# --- changing ---------------------------------------------------------------------------------------------------------------

WRITE_CLAIM: Final = FixedScript(r"""
set -eu
umask 077
read -r base
mkdir -p "$base"
cat > "$base/claim.json.new"
sync
mv -f "$base/claim.json.new" "$base/claim.json"
""")

REMOVE_CLAIM: Final = FixedScript(r"""
set -eu
read -r base
rm -f "$base/claim.json" "$base/claim.json.new"
""")

INSTALL_KEEPER: Final = FixedScript(r"""
set -eu
umask 077
read -r base
read -r version
mkdir -p "$base"
cd "$base"
rm -rf "keeper-$version.new"
mkdir "keeper-$version.new"
tar -xf - -C "keeper-$version.new"
rm -rf "keeper-$version"
mv "keeper-$version.new" "keeper-$version"
sync
[ -L keeper ] || rm -rf keeper
ln -sfn "keeper-$version" keeper
""")

LINK_TOOLS: Final = FixedScript(r"""
set -eu
umask 077
read -r base
read -r node
read -r pi
mkdir -p "$base/bin"
ln -sfn "$node" "$base/bin/node"
ln -sfn "$pi" "$base/bin/pi"
""")

# One pinned package of the npm registry: fetched, checked, unpacked beside what is there, then linked. Whatever npm the machine
# has will do, for fetching only; none of a package's own install scripts is run. What it has to say of a failure is told, without the
# path of a log, which would be another one each time.
INSTALL_PACKAGE: Final = FixedScript(r"""
set -eu
read -r base
read -r package
read -r sha512
read -r program
read -r name
PATH="$base/bin:/usr/local/bin:$PATH"
if ! command -v npm > /dev/null 2>&1; then
  command -v apt-get > /dev/null 2>&1 || { echo "npm is missing, and so is apt-get to install it" >&2; exit 69; }
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -q >&2
  apt-get install -y -q --no-install-recommends npm ca-certificates >&2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm pack --loglevel=error --logs-max=0 --ignore-scripts "$package" > /dev/null
printf '%s  %s\n' "$sha512" "$(echo ./*.tgz)" | sha512sum -c - > /dev/null
tar -xzf ./*.tgz
place="$base/opt/$name"
mkdir -p "$(dirname "$place")" "$base/bin"
rm -rf "$place.new" "$place"
cp -R package "$place.new"
mv "$place.new" "$place"
sync
[ -n "$program" ] || exit 0
chmod 755 "$place/$program"
ln -sfn "../opt/$name/$program" "$base/bin/$name"
""")

# The lock is held by the keeper itself, through the descriptor it inherits, for as long as it lives and not a moment longer.
# Who holds it after the wait is a keeper that runs, not one that is just ending.
START_KEEPER: Final = FixedScript(r"""
set -eu
umask 077
read -r base
read -r socket
read -r segment_bytes
read -r segments
read -r session_bytes
PATH="$base/bin:/usr/local/bin:$PATH"
export PATH
mkdir -p "$base"
cd "$base"
exec 9> "$base/lock"
flock -w 3 9 || exit 0
rm -f "$socket"
[ ! -f keeper.log ] || mv -f keeper.log keeper.log.1
setsid node "$base/keeper/main.mjs" serve --dir "$base" --socket "$socket" --segment-bytes "$segment_bytes" --segments "$segments" \
  --session-bytes "$session_bytes" < /dev/null > keeper.log 2>&1 &
keeper=$!
tries=0
while [ ! -S "$socket" ]; do
  kill -0 "$keeper" 2>/dev/null || { tail -c 2000 keeper.log >&2; exit 70; }
  tries=$((tries + 1))
  [ "$tries" -lt 400 ] || { echo "it did not listen within 20 s" >&2; exit 75; }
  sleep 0.05
done
""")

# Only who holds a keeper's lock knows that it is gone. What is not there is gone already.
DISSOLVE: Final = FixedScript(r"""
set -eu
read -r base
read -r socket
read -r what
[ -d "$base" ] || exit 0
exec 9> "$base/lock"
flock -w 10 9 || { echo "its keeper still runs" >&2; exit 75; }
case "$socket" in "$base"/*) rm -f "$socket" ;; *) rm -rf "$(dirname "$socket")" ;; esac
[ "$what" = keep ] || rm -rf "$base"
""")


def claim_line(claim: dict[str, str]) -> bytes:
    """The claim file's content: one line of JSON."""
    return json.dumps(claim, sort_keys=True, ensure_ascii=False).encode() + b"\n"


def start_input(layout: GuestLayout) -> bytes:
    limits = layout.limits
    return lines(layout.base, layout.socket_path, str(limits.segment_bytes), str(limits.segments), str(limits.session_bytes))


def package_input(layout: GuestLayout, package: Package) -> bytes:
    return lines(layout.base, package.spec, package.sha512, package.program, package.name)


# --- the keeper's program ---------------------------------------------------------------------------------------------------


def keeper_files() -> dict[str, bytes]:
    """Its modules by name, and the grammar that they read commands with, as shipped with us."""
    directory = resources.files("reconciler.agent") / "keeper"
    found = {entry.name: entry.read_bytes() for entry in directory.iterdir() if entry.name.endswith(".mjs")}
    vendored = {
        f"vendor/{entry.name}": entry.read_bytes() for entry in (directory / "vendor").iterdir() if not entry.name.startswith((".", "_"))
    }
    return dict(sorted({**found, **vendored}.items()))


def keeper_digest() -> str:
    """What `KEEPER_VERSION` ends with."""
    digest = hashlib.sha256()
    for name, content in keeper_files().items():
        digest.update(f"{name}\0{len(content)}\0".encode() + content)
    return digest.hexdigest()[:12]


def keeper_bundle() -> bytes:
    """The modules as a tar file; the same bytes every time."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in keeper_files().items():
            info = tarfile.TarInfo(name)
            info.size, info.mode = len(content), 0o600
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def keeper_input(layout: GuestLayout) -> bytes:
    return lines(layout.base, KEEPER_VERSION) + keeper_bundle()
