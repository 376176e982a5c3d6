"""A data directory: what exists on the platform, kept across restarts of the simulator."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import orjson

from reconciler.errors import UsageError
from reconciler.vers.simulator.ports import Ports
from reconciler.vers.simulator.records import Account, Deferred, Record, dump, load_commit, load_repository, load_tag, load_vm
from reconciler.vers.simulator.world import World

_FORMAT = 1


class Durable:
    """One SQLite file, 0600: it holds the account's key. Every method raises `sqlite3.Error` when the disk does."""

    def __init__(self, path: Path) -> None:
        """Raises `UsageError` while another simulator has the directory."""
        self._lock = os.open(path.with_name("lock"), os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise UsageError(
                "the data directory is in use", f"--data {path.parent}", "stop the other simulator, or use another directory"
            ) from None
        path.touch(mode=0o600)
        self._db = sqlite3.connect(path, isolation_level=None)
        try:
            self._db.execute("PRAGMA journal_mode=WAL")
            self._db.execute("PRAGMA synchronous=NORMAL")
            self._db.execute("CREATE TABLE IF NOT EXISTS records (kind TEXT, id TEXT, data BLOB, PRIMARY KEY (kind, id)) WITHOUT ROWID")
        except sqlite3.Error:
            self.close()
            raise

    def account(self) -> tuple[Account, int] | None:
        """The account of this directory and the seed of its ids; None when it is new. Raises `UsageError` for a later format."""
        row = self._db.execute("SELECT data FROM records WHERE kind='meta' AND id='account'").fetchone()
        if row is None:
            return None
        raw = orjson.loads(row[0])
        if raw["format"] != _FORMAT:
            raise UsageError(
                "the data directory was written by another version", "--data", "use the version that wrote it, or another directory"
            )
        return Account(**raw["account"]), raw["seed"]

    def found(self, account: Account, seed: int) -> None:
        self._put([("meta", "account", orjson.dumps({"format": _FORMAT, "account": asdict(account), "seed": seed}))])

    def ports(self) -> Ports:
        """Where the last simulator on this directory listened."""
        row = self._db.execute("SELECT data FROM records WHERE kind='meta' AND id='ports'").fetchone()
        return Ports() if row is None else Ports(**orjson.loads(row[0]))

    def keep_ports(self, ports: Ports) -> None:
        self._put([("meta", "ports", orjson.dumps(asdict(ports)))])

    def load(self, world: World) -> None:
        """Fill an empty world."""
        now = world.clock()
        for kind, record_id, data in self._db.execute("SELECT kind, id, data FROM records"):
            match kind, record_id:
                case "vm", _:
                    vm = load_vm(data)
                    world.vms[record_id] = vm
                    if vm.exists(now):
                        world.present[record_id] = vm
                case "commit", _:
                    world.commits[record_id] = load_commit(data)
                case "tag", _:
                    world.tags[record_id] = load_tag(data)
                case "repository", _:
                    world.repositories[record_id] = load_repository(data)
                case "meta", "environment":
                    world.environment = orjson.loads(data)
                case "meta", "deferred":
                    world.deferred = [Deferred(**raw) for raw in orjson.loads(data)]
                case "meta", "ids":
                    world.resume_ids(orjson.loads(data))
        for table in (world.vms, world.present):
            ordered = sorted(table.values(), key=lambda vm: vm.serial)
            table.clear()
            table.update((vm.id, vm) for vm in ordered)
        commits = sorted(world.commits.values(), key=lambda commit: commit.created_at)
        world.commits = {commit.id: commit for commit in commits}

    def save(self, world: World) -> None:
        """Write what was touched, in one transaction."""
        rows: list[tuple[str, str, bytes]] = [("meta", "ids", orjson.dumps(world.ids_made))]
        gone: list[tuple[str, str]] = []
        for touched in world.touched:
            data = _data(world, touched.kind, touched.id)
            if data is None:
                gone.append((touched.kind, touched.id))
            else:
                rows.append((touched.kind, touched.id, data))
        self._put(rows, gone)
        world.touched.clear()

    def _put(self, rows: list[tuple[str, str, bytes]], gone: list[tuple[str, str]] | None = None) -> None:
        self._db.execute("BEGIN")
        try:
            self._db.executemany("INSERT OR REPLACE INTO records VALUES (?, ?, ?)", rows)
            self._db.executemany("DELETE FROM records WHERE kind=? AND id=?", gone or [])
        except sqlite3.Error:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def close(self) -> None:
        self._db.close()
        os.close(self._lock)


def _data(world: World, kind: str, record_id: str) -> bytes | None:
    if kind == "meta":
        return orjson.dumps(world.environment if record_id == "environment" else [asdict(d) for d in world.deferred])
    tables: dict[str, Mapping[str, Record]] = {
        "vm": world.vms,
        "commit": world.commits,
        "tag": world.tags,
        "repository": world.repositories,
    }
    record = tables[kind].get(record_id)
    return dump(record) if record is not None else None
