"""A process that writes batches until it is killed: `python victim.py STORE RUN`. Prints each batch's number once it is durable.

Batch n of a run: object n, an object all batches update, a meta row, an intent, an event and 7 session bytes.
"""

from __future__ import annotations

import asyncio
import os
import sys

from reconciler.engine.ports import AddEvent, AppendSession, Event, Intent, Key, PutIntent, PutMeta, PutObject, SlotOwner, StoredObject
from reconciler.store.sqlstore import SqlStore, open_store

WRITERS = 8


async def _write(store: SqlStore, run: str, writer: int) -> None:
    number = writer
    length = 0
    while True:
        name = f"{run}-{number}"
        key = Key("Task", "default", name)
        await store.write(
            [
                PutObject(StoredObject(key, name, 1, 1, 1.0, {"run": run, "pad": "x" * 300}), 0),
                PutMeta(name, "there"),
                PutIntent(Intent(name, SlotOwner.of(key, name), "create", 1, {}, 1.0)),
                AddEvent(Event(key, name, "Normal", "Written", name, 1.0)),
                AppendSession(f"{run}/{writer}", length, f"{number:6}\n".encode()),
            ]
        )
        os.write(1, f"{number}\n".encode())
        number += WRITERS
        length += 7


async def _main(where: str, run: str) -> None:
    store = open_store(where)
    await asyncio.gather(*(_write(store, run, writer) for writer in range(WRITERS)))


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], sys.argv[2]))
