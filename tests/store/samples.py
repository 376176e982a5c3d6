"""Values to store."""

from __future__ import annotations

from reconciler.engine.ports import Event, Intent, Json, Key, PutObject, SlotOwner, StoredObject


def key(name: str = "a", kind: str = "Lieutenant", namespace: str = "default") -> Key:
    return Key(kind, namespace, name)


def thing(name: str = "a", version: int = 1, *, uid: str = "", spec: Json | None = None, kind: str = "Lieutenant") -> StoredObject:
    return StoredObject(key(name, kind), uid or f"uid-{name}", 1, version, 1000.5, spec if spec is not None else {"n": version})


def full(name: str = "full") -> StoredObject:
    """Every field set, with text and numbers that encodings get wrong."""
    return StoredObject(
        key=key(name, "VMTree", "team-ä"),
        uid="0b5a",
        generation=7,
        version=12,
        created_at=1753000000.123456,
        spec={"z": 1, "a": [None, True, 0.1, -(2**53), {"nested": "日本 \u0000 \U0001f600 '\";--"}], "": {}},
        labels={"app": "x", "emoji": "✓"},
        annotations={"fleet.vers.sh/retry": "t1"},
        finalizers=("fleet.vers.sh/vm", "other/one"),
        deleted_at=1753000001.5,
        status={"conditions": [{"type": "Ready", "status": "False"}]},
        record={"vm": "0f", "epoch": 3},
        source="file",
        origin="specs/tree.yaml:12",
        owner="0a11",
        source_id="5b1f0d7e-6c0e-4f0b-9a53-00000000c1a5",
        source_commit="6f1ed002ab5595859014ebf0951522d9",
    )


def put(name: str = "a", version: int = 1, *, uid: str = "") -> PutObject:
    """Version `version` on top of the one before."""
    return PutObject(thing(name, version, uid=uid), version - 1)


def intent(token: str = "t1", outcome: str = "", sent_at: float = 2000.25, node: str = "") -> Intent:
    owner = SlotOwner.of(key(), "uid-a", node)
    return Intent(token, owner, "create", 1, {"source": {"root": "default"}}, sent_at, 1999.0, outcome)


def event(message: str = "hello", name: str = "a", at: float = 3000.0) -> Event:
    return Event(key(name), f"uid-{name}", "Normal", "Created", message, at)
