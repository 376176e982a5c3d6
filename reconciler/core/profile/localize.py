"""Where an agent on this host keeps its files, and the part of a profile that applies to it. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace

from reconciler.api.bootprofile import BootProfileSpec
from reconciler.core.profile.digests import digest
from reconciler.core.profile.directories import AGENT_DIR
from reconciler.core.profile.instructions import inside_of
from reconciler.core.profile.rendering import ROLE_FILE
from reconciler.core.snapshot.machine import RootSource, VmShape
from reconciler.core.snapshot.rendered import Rendered, RenderedFile

HOME_DIR = "/root"


def local_dir(root: str, uid: str) -> str:
    """The directory of a lieutenant's agent under `root` (absolute). Hashed, because a socket in it has a short path."""
    name = hashlib.sha256(f"{root}\0{uid}".encode()).hexdigest()[:16]
    return f"{root}/{name}"


def tree_of(directory: str) -> str:
    """What stands in for `/` in an agent's directory."""
    return f"{directory}/tree"


def in_tree(tree: str, path: str) -> str:
    """A machine's absolute path, in the tree; relative ones stay. `tree` '' is a machine's own."""
    return f"{tree}{path}" if path.startswith("/") else path


def header_from(data: bytes, tree: str) -> bytes:
    """The begin of a session file here (its first line whole), as the mirror has it. `tree` '' is a machine's own."""
    if not tree:
        return data
    line, newline, rest = data.partition(b"\n")
    return line.replace(b'"cwd":"' + _inside(tree), b'"cwd":"', 1) + newline + rest


def header_to(data: bytes, tree: str) -> bytes:
    """The contrary: the begin of a mirror, as the session file here has it. pi goes on in the directory named there."""
    line, newline, rest = data.partition(b"\n")
    return line.replace(b'"cwd":"/', b'"cwd":"' + _inside(tree) + b"/", 1) + newline + rest


def shift_of(header: bytes, tree: str) -> int:
    """Bytes by which a session file here is longer than its mirror, which begins with this line."""
    return len(header_to(header, tree)) - len(header) if tree else 0


def first_line(data: bytes) -> bytes:
    """With its end; empty when it is not whole."""
    line, newline, _ = data.partition(b"\n")
    return line + newline if newline else b""


def _inside(tree: str) -> bytes:
    """As it stands in a JSON string."""
    return json.dumps(tree, ensure_ascii=False)[1:-1].encode()


def localized(made: Rendered, tree: str) -> Rendered:
    """The part of a rendering that applies on this host, with its paths in the tree. Same rendering, same bytes (G-47)."""
    work_dir = in_tree(tree, made.work_dir)
    files = tuple(f for f in made.files if _relative(f.path))
    told = f"You work in {work_dir}, on a host that others use too; what was said to be in {made.work_dir} is there.\n"
    agent_files = tuple(
        RenderedFile(in_tree(tree, f.path), f.content + told if f.path == ROLE_FILE else f.content, f.secret, f.mode)
        for f in made.agent_files
        if _relative(f.path) or f.path.startswith(f"{AGENT_DIR}/")
    )
    argv = tuple(in_tree(tree, word) if word.startswith(f"{AGENT_DIR}/") else word for word in made.argv)
    agent_hash = digest(agent_files)
    return replace(
        made,
        work_dir=work_dir,
        files=files,
        steps=(),
        checks=(),
        organs=(),
        capabilities=(),
        organ_checks=(),
        organs_hash="",
        skills=tuple(in_tree(tree, path) if path.startswith(f"{made.work_dir}/") else path for path in made.skills),
        agent_files=agent_files,
        argv=argv,
        profile_hash=digest([files, work_dir]),
        files_hash=digest(files),
        agent_hash=agent_hash,
        launch_hash=digest([made.launch_hash, tree, work_dir]),
        boundary=made.boundary.in_tree(tree) if made.boundary is not None else None,
        told=inside_of(agent_files, in_tree(tree, ROLE_FILE), (in_tree(tree, AGENT_DIR),), work_dir),
    )


def not_applied(made: Rendered, chain: Iterable[BootProfileSpec]) -> tuple[str, ...]:
    """The parts of a profile that are for machines only, by name."""
    chain = tuple(chain)
    absolute = [f.path for f in made.files if not _relative(f.path)]
    absolute += [f.path for f in made.agent_files if not _relative(f.path) and not f.path.startswith(f"{AGENT_DIR}/")]
    named = (
        ("source", [] if made.source == RootSource() else ["not the default image"]),
        ("resources", [] if made.shape == VmShape() else ["sizes"]),
        ("organs", [str(organ) for p in chain for organ in p.organs]),
        ("capabilities", [str(capability) for p in chain for capability in p.capabilities]),
        ("files with absolute paths", absolute),
        ("steps", [step.name for step in made.steps]),
        ("verify", [check.name for check in made.checks]),
    )
    return tuple(f"{what} ({', '.join(dict.fromkeys(names))})" for what, names in named if names)


def _relative(path: str) -> bool:
    return not path.startswith(("/", "~"))
