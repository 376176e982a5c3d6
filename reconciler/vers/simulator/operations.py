"""From an operation's name and what came with the request to the method that carries it out; ids and bodies are checked here."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from reconciler.vers.simulator import limits, wire
from reconciler.vers.simulator.catalog import CatalogOps
from reconciler.vers.simulator.records import Caller
from reconciler.vers.simulator.vms import VmOps
from reconciler.vers.simulator.wire import Body, Query, Reply, parse_uuid
from reconciler.vers.simulator.world import World


@dataclass(frozen=True, slots=True)
class Exec:
    """Run `command` (argv, no shell) in a VM. `timeout` in seconds, 0 none. `stream`: answer as NDJSON."""

    vm_id: str
    command: tuple[str, ...]
    env: Mapping[str, str] = field(repr=False)
    working_dir: str | None
    stdin: str | None = field(repr=False)
    timeout: float
    exec_id: str | None
    stream: bool


@dataclass(frozen=True, slots=True)
class Attach:
    """Join an exec's output after `cursor`; None: from its start, `from_latest`: only what is to come."""

    vm_id: str
    exec_id: str
    cursor: int | None
    from_latest: bool


@dataclass(frozen=True, slots=True)
class Logs:
    vm_id: str
    offset: int
    max_entries: int
    stream: str | None


@dataclass(frozen=True, slots=True)
class ReadFile:
    vm_id: str
    path: str


@dataclass(frozen=True, slots=True)
class WriteFile:
    vm_id: str
    path: str
    content_b64: str = field(repr=False)
    mode: int
    create_dirs: bool


_ENTRIES = 10_000
_OF_THE_KERNEL = frozenset({"proc", "sys"})

GuestWork = Exec | Attach | Logs | ReadFile | WriteFile


@dataclass(frozen=True, slots=True)
class Args:
    """What one call brings."""

    who: Caller
    params: Mapping[str, str]
    query: Query
    raw: bytes = field(repr=False)
    segments: tuple[str, ...] = ()

    def id(self, name: str) -> str:
        return parse_uuid(name, self.params[name])

    def body(self) -> Body:
        return Body(self.raw)


Operation = Callable[[Args], Reply | GuestWork]


class Operations:
    """`run(op, args)` returns the reply, or the work that has to be done in a guest; raises `ApiError` and `NotYet`."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.vms = VmOps(world)
        self.catalog = CatalogOps(world)
        self._table: dict[str, Operation] = {**self._vm_operations(), **self._catalog_operations()}

    def run(self, op: str, args: Args) -> Reply | GuestWork:
        return self._table[op](args)

    def names(self) -> frozenset[str]:
        return frozenset(self._table)

    def _vm_operations(self) -> dict[str, Operation]:
        vms = self.vms
        return {
            "list_vms": self._list_vms,
            "new_root": lambda a: vms.new_root(a.who, a.query, a.body()),
            "from_commit": lambda a: vms.from_commit(a.who, a.body()),
            "branch": lambda a: vms.branch(a.who, a.id("vm_or_commit_id"), a.query),
            "branch_by_vm": lambda a: vms.branch_by_vm(a.who, a.id("vm_id"), a.query),
            "branch_by_commit": lambda a: vms.branch_by_commit(a.who, a.id("commit_id"), a.query),
            "branch_by_tag": lambda a: vms.branch_by_tag(a.who, a.params["tag_name"], a.query),
            "branch_by_ref": lambda a: vms.branch_by_ref(a.who, a.params["repo_name"], a.params["tag_name"], a.query),
            "commit": lambda a: vms.commit(a.who, a.id("vm_id"), a.query, Body(a.raw, required=False)),
            "delete_vm": lambda a: vms.delete_vm(a.who, a.id("vm_id"), a.query),
            "set_state": lambda a: vms.set_state(a.who, a.id("vm_id"), a.query, a.body()),
            "resize_disk": lambda a: vms.resize_disk(a.who, a.id("vm_id"), a.query, a.body()),
            "status": lambda a: vms.status(a.id("vm_id")),
            "metadata": lambda a: vms.metadata(a.id("vm_id")),
            "ssh_key": lambda a: vms.ssh_key(a.id("vm_id"), a.who),
            "label": lambda a: vms.label(a.who, a.id("vm_id"), a.body()),
            "set_labels": lambda a: vms.set_labels(a.who, a.id("vm_id"), a.body()),
            "delete_label": lambda a: vms.delete_label(a.who, a.id("vm_id"), a.params["label_name"]),
            "exec": lambda a: self._exec(a, stream=False),
            "exec_stream": lambda a: self._exec(a, stream=True),
            "exec_attach": self._attach,
            "logs": self._logs,
            "read_file": self._read_file,
            "write_file": self._write_file,
        }

    def _catalog_operations(self) -> dict[str, Operation]:
        catalog = self.catalog
        return {
            "list_commits": lambda a: catalog.list_commits(a.query),
            "list_public_commits": lambda a: catalog.list_commits(a.query, public=True),
            "update_commit": lambda a: catalog.update_commit(a.who, a.id("commit_id"), a.body()),
            "delete_commit": lambda a: catalog.delete_commit(a.who, a.id("commit_id")),
            "commit_parents": lambda a: catalog.parents(a.id("commit_id")),
            "list_commit_tags": lambda a: catalog.list_commit_tags(),
            "create_commit_tag": lambda a: catalog.create_commit_tag(a.who, a.body()),
            "get_commit_tag": lambda a: catalog.get_commit_tag(a.params["tag_name"]),
            "update_commit_tag": lambda a: catalog.update_commit_tag(a.who, a.params["tag_name"], a.body()),
            "delete_commit_tag": lambda a: catalog.delete_commit_tag(a.who, a.params["tag_name"]),
            "list_repositories": lambda a: catalog.list_repositories(),
            "create_repository": lambda a: catalog.create_repository(a.who, a.body()),
            "fork_repository": lambda a: catalog.fork_repository(a.who, a.body()),
            "get_repository": lambda a: catalog.get_repository(a.params["repo_name"]),
            "delete_repository": lambda a: catalog.delete_repository(a.who, a.params["repo_name"]),
            "set_visibility": lambda a: catalog.set_visibility(a.who, a.params["repo_name"], a.body()),
            "list_repository_tags": lambda a: catalog.list_repository_tags(a.params["repo_name"]),
            "create_repository_tag": lambda a: catalog.create_repository_tag(a.who, a.params["repo_name"], a.body()),
            "get_repository_tag": lambda a: catalog.get_repository_tag(a.params["repo_name"], a.params["tag_name"]),
            "update_repository_tag": lambda a: catalog.update_repository_tag(a.who, a.params["repo_name"], a.params["tag_name"], a.body()),
            "delete_repository_tag": lambda a: catalog.delete_repository_tag(a.who, a.params["repo_name"], a.params["tag_name"]),
            "list_public_repositories": lambda a: catalog.list_repositories(public=True),
            "get_public_repository": lambda a: catalog.get_repository(self._public(a)),
            "list_public_repository_tags": lambda a: catalog.list_repository_tags(self._public(a)),
            "get_public_repository_tag": lambda a: catalog.get_repository_tag(self._public(a), a.params["tag_name"]),
            "list_env": lambda a: catalog.list_env(),
            "put_env": lambda a: catalog.put_env(a.who, a.body()),
            "delete_env": lambda a: catalog.delete_env(a.who, a.params["name"]),
            "whoami": lambda a: catalog.whoami(),
            "validate_key": lambda a: catalog.validate_key(),
            "version": lambda a: catalog.version(),
            "health": lambda a: catalog.health(),
        }

    def _public(self, args: Args) -> str:
        return self.catalog.public_repository(args.params["org"], args.params["repo_name"]).name

    def _list_vms(self, args: Args) -> Reply:
        if self.world.knobs.list_path not in ("both", args.segments[-1]):
            raise wire.ApiError(404, b"", None)
        return self.vms.list_vms()

    # --- what happens in a guest -----------------------------------------------------------------------------------------

    def _exec(self, args: Args, *, stream: bool) -> Exec:
        vm_id, body = args.id("vm_id"), args.body()
        command = tuple(body.texts("command"))
        if not command:
            raise wire.refused(400, "command must not be empty")
        env, directory = body.strings("env") or {}, body.text("working_dir")
        _must_fit(command, env, directory)
        work = Exec(
            vm_id,
            command,
            env,
            directory,
            body.text("stdin"),
            float(body.number("timeout_secs") or 0),
            body.uuid("exec_id"),
            stream,
        )
        self.vms.runnable(args.who, vm_id)
        return work

    def _attach(self, args: Args) -> Attach:
        vm_id, body = args.id("vm_id"), args.body()
        self.world.own_vm(vm_id, args.who)
        return Attach(vm_id, body.required_uuid("exec_id"), body.number("cursor"), body.flag("from_latest", False))

    def _logs(self, args: Args) -> Logs:
        vm_id, stream = args.id("vm_id"), args.query.text("stream")
        if stream not in (None, "stdout", "stderr"):
            raise wire.ApiError(400, f"Failed to deserialize query string: unknown variant `{stream}`".encode(), wire.TEXT)
        self.world.own_vm(vm_id, args.who)
        return Logs(vm_id, args.query.number("offset", 0), min(args.query.number("max_entries", 1000), _ENTRIES), stream)

    def _read_file(self, args: Args) -> ReadFile:
        vm_id, path = args.id("vm_id"), args.query.text("path")
        if path is None:
            raise wire.ApiError(400, b"Failed to deserialize query string: missing field `path`", wire.TEXT)
        self.vms.runnable(args.who, vm_id)
        return ReadFile(vm_id, _absolute(path))

    def _write_file(self, args: Args) -> WriteFile:
        vm_id, body = args.id("vm_id"), args.body()
        mode = body.number("mode")
        work = WriteFile(
            vm_id,
            _absolute(body.required_text("path")),
            body.required_text("content_b64"),
            420 if mode is None else mode,
            body.flag("create_dirs", False),
        )
        self.vms.runnable(args.who, vm_id)
        return work


def _absolute(path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise wire.refused(400, "path must be absolute")
    if len(path) > limits.PATH:
        raise wire.refused(400, f"path is longer than {limits.PATH} bytes")
    if posixpath.normpath(f"/{path.lstrip('/')}").split("/")[1] in _OF_THE_KERNEL:
        raise wire.refused(400, "not a plain file")  # whatever kind of guest it is, and whether or not it is there now
    return path


def _must_fit(command: tuple[str, ...], env: Mapping[str, str], directory: str | None) -> None:
    """What no system would start."""
    words = [*command, *env, *env.values(), directory or ""]
    if any("\0" in word for word in words):
        raise wire.refused(400, "a NUL byte in a command, its environment or its directory")
    if any(not name or "=" in name for name in env):
        raise wire.refused(400, "malformed name of an environment variable")
    if sum(len(word.encode()) + 9 for word in words) > limits.COMMAND or len(directory or "") > limits.PATH:
        raise wire.refused(400, f"a command with its environment is larger than {limits.COMMAND} bytes")
