"""What the engine relies on, on every kind of store."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from reconciler.engine.ports import (
    AddEvent,
    AppendSession,
    DropObject,
    Image,
    PutIntent,
    PutMeta,
    PutObject,
    SawVms,
    Write,
)
from reconciler.errors import Conflict, ReconcilerError, Rejected
from reconciler.store.commit import EVENTS_KEPT, INTENTS_KEPT, PRUNE_EVERY
from reconciler.store.sqlstore import SqlStore
from tests.store.conftest import Open
from tests.store.samples import event, full, intent, key, put, thing

EMPTY = Image((), (), {}, {}, {})


async def test_a_new_store_is_empty(store: SqlStore) -> None:
    assert await store.load() == EMPTY
    assert await store.objects() == []
    assert await store.events() == []
    assert await store.session("none") == b""
    assert await store.meta("none") is None
    assert await store.metas("") == {}


async def test_everything_written_is_there_after_a_restart(opened: Open) -> None:
    store = opened()
    await store.write(
        [
            PutObject(full(), 0),
            PutIntent(intent("open")),
            PutIntent(intent("shut", "created")),
            AppendSession("s/1", 0, b"\x00\xff\n"),
            SawVms(("vm-1", "vm-2"), 5.5),
            PutMeta("epoch", "4"),
            AddEvent(event()),
        ]
    )
    await store.aclose()
    again = opened()
    expected = Image((full(),), (intent("open"),), {"vm-1": 5.5, "vm-2": 5.5}, {"s/1": 3}, {"epoch": "4"})
    assert await again.load() == expected
    (stored,) = await again.objects()
    assert list(stored.spec) == ["z", "a", ""], "keys keep the user's order"
    assert await again.events() == [replace(event(), seq=1)]
    assert await again.session("s/1") == b"\x00\xff\n"
    assert await again.meta("epoch") == "4"
    assert (await again.metas("ep"), await again.metas("e%"), await again.metas("epochs")) == ({"epoch": "4"}, {}, {})


async def test_objects_are_found_by_kind_namespace_and_name_and_come_sorted(store: SqlStore) -> None:
    await store.write([PutObject(thing(name, kind=kind), 0) for kind in ("Task", "Lieutenant") for name in ("b", "a-1", "a", "B")])
    assert [str(obj.key) for obj in await store.objects("Task")] == [f"Task/default/{name}" for name in ("B", "a", "a-1", "b")]
    assert [obj.key.kind for obj in await store.objects(name="b")] == ["Lieutenant", "Task"]
    assert await store.objects(namespace="other") == []
    assert (await store.load()).objects == tuple(await store.objects())


async def test_compare_and_set(store: SqlStore) -> None:
    await store.write([put("a", 1)])
    await store.write([put("a", 2)])
    for stale in (put("a", 2), PutObject(thing("a", 1), 0), PutObject(thing("a", 9), 8), PutObject(thing("b", 2), 1)):
        with pytest.raises(Conflict):
            await store.write([stale])
    assert await store.objects() == [thing("a", 2)]


async def test_a_stale_writer_does_not_overwrite_the_successor_of_a_deleted_object(store: SqlStore) -> None:
    await store.write([put("a", 1, uid="first")])
    await store.write([DropObject(key("a"), "first"), put("a", 1, uid="second")])
    with pytest.raises(Conflict, match="uid"):
        await store.write([put("a", 2, uid="first")])
    await store.write([DropObject(key("a"), "first")])
    assert [obj.uid for obj in await store.objects()] == ["second"]


async def test_dropping_what_is_gone_is_no_error(store: SqlStore) -> None:
    await store.write([put("a")])
    await store.write([DropObject(key("a"), "uid-a")])
    await store.write([DropObject(key("a"), "uid-a"), PutMeta("done", "yes")])
    assert await store.objects() == []
    assert await store.meta("done") == "yes"


async def test_one_batch_may_write_an_object_several_times(store: SqlStore) -> None:
    await store.write([put("a", 1), put("a", 2), DropObject(key("a"), "uid-a"), put("a", 1, uid="new"), put("a", 2, uid="new")])
    assert await store.objects() == [thing("a", 2, uid="new")]


@pytest.mark.parametrize("bad", [put("a", 5), AppendSession("s", 1, b"x")], ids=["version", "offset"])
async def test_nothing_of_a_conflicting_batch_is_applied(store: SqlStore, bad: Write) -> None:
    others: list[Write] = [
        PutObject(thing("b"), 0),
        PutIntent(intent()),
        AddEvent(event()),
        AppendSession("other", 0, b"x"),
        SawVms(("vm",), 1.0),
        PutMeta("m", "v"),
    ]
    for place in (0, 3, len(others)):
        with pytest.raises(Conflict):
            await store.write([*others[:place], bad, *others[place:]])
    assert await store.load() == EMPTY
    assert await store.events() == []
    assert store.stats.conflicts == 3


async def test_concurrent_writes_of_one_object_one_wins(store: SqlStore) -> None:
    await store.write([put("a", 1)])
    contenders = [PutObject(thing("a", 2, spec={"by": number}), 1) for number in range(20)]
    outcomes = await asyncio.gather(
        *(store.write([one, PutMeta(f"m{n}", "x")]) for n, one in enumerate(contenders)), return_exceptions=True
    )
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict"] * 19 + ["NoneType"]
    winner = outcomes.index(None)
    image = await store.load()
    assert [obj.spec for obj in image.objects] == [{"by": winner}]
    assert image.meta == {f"m{winner}": "x"}


async def test_concurrent_batches_that_build_on_each_other_all_succeed(store: SqlStore) -> None:
    await asyncio.gather(
        *(store.write([put("a", version), AppendSession("s", version - 1, bytes([version]))]) for version in range(1, 30)),
    )
    assert [obj.version for obj in await store.objects()] == [29]
    assert await store.session("s") == bytes(range(1, 30))


async def test_what_cannot_be_stored_fails_alone(store: SqlStore) -> None:
    bad: list[Write] = [
        PutObject(thing("x", spec={"n": 2**70}), 0),
        PutObject(thing("x", spec={"s": "\ud800"}), 0),
        PutObject(thing("x\ud800"), 0),
        PutObject(replace(thing("x"), generation=2**70), 0),
        PutObject(thing("x", 0), 0),
        PutObject(thing("x", 3), 3),
        AppendSession("s", -1, b""),
    ]
    writes = [store.write([PutMeta("bad", "x"), one]) for one in bad] + [store.write([put(f"good{n}")]) for n in range(5)]
    outcomes = await asyncio.gather(*writes, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [Rejected] * len(bad) + [type(None)] * 5
    assert len(await store.objects()) == 5
    assert await store.meta("bad") is None


async def test_errors_quote_no_value(store: SqlStore) -> None:
    value = "s3cr3t-value"
    for bad in (thing("x", spec={"k": value, "n": 2**70}), replace(thing("x", spec={"k": value}), generation=2**70, origin=value)):
        with pytest.raises(Rejected) as caught:
            await store.write([PutObject(bad, 0)])
        chain: BaseException | None = caught.value
        while chain is not None:
            assert value not in f"{chain}{chain!r}"
            chain = chain.__cause__ or (None if chain.__suppress_context__ else chain.__context__)


async def test_a_mapping_changed_after_the_write_changes_nothing(store: SqlStore) -> None:
    spec = {"n": 1}
    writing = asyncio.ensure_future(store.write([PutObject(thing(spec=spec), 0)]))
    await asyncio.sleep(0)
    spec["n"] = 2
    await writing
    assert (await store.objects())[0].spec == {"n": 1}


async def test_an_empty_batch_writes_nothing(store: SqlStore) -> None:
    await store.write([])
    assert store.stats.commits == 0


async def test_intents_open_until_closed(store: SqlStore) -> None:
    await store.write([PutIntent(intent("t2", sent_at=2.0)), PutIntent(intent("t1", sent_at=3.0))])
    assert [one.token for one in (await store.load()).intents] == ["t2", "t1"]
    await store.write([PutIntent(intent("t2", "indeterminate: none found", sent_at=2.0))])
    assert (await store.load()).intents == (intent("t1", sent_at=3.0),)


async def test_two_slots_of_one_object_have_an_open_intent_each(opened: Open) -> None:
    store = opened()
    await store.write([PutIntent(intent("t1")), PutIntent(intent("t2", node="lead")), PutIntent(intent("t3", node="worker"))])
    await store.write([PutIntent(intent("t2", "created", node="lead"))])
    await store.aclose()
    left = (await opened().load()).intents
    assert [(one.token, one.owner.node, str(one.owner.key)) for one in left] == [
        ("t1", "", "Lieutenant/default/a"),
        ("t3", "worker", "Lieutenant/default/a/worker"),
    ]
    assert {one.owner.uid for one in left} == {"uid-a"}


async def test_owner_and_source_of_an_object_change_with_it(store: SqlStore) -> None:
    await store.write([PutObject(thing("a"), 0)])
    assert [(obj.owner, obj.source_id, obj.source_commit) for obj in await store.objects()] == [("", "", "")]
    changed = replace(thing("a", 2), owner="uid-of-a-swarm", source_id="uuid-of-a-stack", source_commit="0ddba11")
    await store.write([PutObject(changed, 1)])
    assert await store.objects() == [changed]


async def test_a_vm_keeps_the_time_it_was_first_seen(store: SqlStore) -> None:
    await store.write([SawVms(("a", "b"), 1.0), SawVms(("b", "c"), 2.0)])
    await store.write([SawVms(("a", "d"), 3.0)])
    assert (await store.load()).first_seen == {"a": 1.0, "b": 1.0, "c": 2.0, "d": 3.0}


@pytest.mark.guarantee("G-26")
async def test_a_session_is_mirrored_byte_for_byte_and_read_by_range(store: SqlStore) -> None:
    text = bytes(range(256)) * 20
    at = 0
    for size in (1, 0, 999, 1, 2000, 5120):
        await store.write([AppendSession("s", at, text[at : at + size])])
        at = min(at + size, len(text))
    assert (await store.load()).sessions == {"s": len(text)}
    assert await store.session("s") == text
    for offset, limit in ((0, 1), (1, 999), (0, 1001), (999, 3), (1500, 3000), (5119, 10), (5120, 10), (9999, 1), (0, 0)):
        assert await store.session("s", offset, limit) == text[offset : offset + limit], (offset, limit)


@pytest.mark.guarantee("G-26")
async def test_an_append_elsewhere_than_at_the_end_is_refused(store: SqlStore) -> None:
    await store.write([AppendSession("s", 0, b"abc")])
    for offset in (0, 2, 4):
        with pytest.raises(Conflict, match="3 bytes"):
            await store.write([AppendSession("s", offset, b"x")])
    assert await store.session("s") == b"abc"


async def test_an_event_that_is_told_again_takes_the_place_of_the_last(store: SqlStore) -> None:
    """As the newest, also of those written together; another one of that series of another object stays."""

    def again(count: int, name: str = "a") -> AddEvent:
        return AddEvent(replace(event(f"try {count}", name), series="s", count=count, first=1.0))

    await store.write([again(1), again(1, "b"), AddEvent(event("other"))])
    last = (await store.events())[-1].seq
    await store.write([again(2), again(3)])
    assert [(one.message, one.count, one.since) for one in await store.events()] == [
        ("try 1", 1, 1.0),
        ("other", 1, 3000.0),
        ("try 3", 3, 1.0),
    ]
    assert [one.message for one in await store.events(after=last)] == ["try 3"], "who watches sees it"


async def test_events_are_numbered_in_order_and_read_forwards(store: SqlStore) -> None:
    for number in range(7):
        await store.write([AddEvent(event(f"m{number}", "a" if number % 2 else "b"))])
    assert [one.seq for one in await store.events()] == list(range(1, 8))
    assert [one.message for one in await store.events(limit=3)] == ["m4", "m5", "m6"]
    assert [one.message for one in await store.events(after=2, limit=3)] == ["m2", "m3", "m4"]
    assert [one.message for one in await store.events(key("a"))] == ["m1", "m3", "m5"]
    assert [one.message for one in await store.events(key("a"), limit=1)] == ["m5"]
    assert await store.events(after=7) == []
    assert await store.events(limit=0) == []


async def test_an_event_may_quote_anything(store: SqlStore) -> None:
    await store.write([AddEvent(event("nul \x00 surrogate \ud800 fine ü"))])
    (one,) = await store.events()
    assert one.message == "nul \ufffd surrogate ? fine ü"


async def test_events_are_kept_within_bounds(store: SqlStore) -> None:
    for start in range(0, EVENTS_KEPT + 3 * PRUNE_EVERY, 2 * PRUNE_EVERY):
        await store.write([AddEvent(event(str(start + n))) for n in range(2 * PRUNE_EVERY)])
    total = EVENTS_KEPT + 4 * PRUNE_EVERY
    kept = await store.events(limit=total)
    assert len(kept) == EVENTS_KEPT
    assert kept[-1].message == str(total - 1)


async def test_closed_intents_are_kept_within_bounds_and_open_ones_always(store: SqlStore) -> None:
    await store.write([PutIntent(intent("old", sent_at=0.0))])
    for start in range(0, INTENTS_KEPT + 2 * PRUNE_EVERY, 2 * PRUNE_EVERY):
        await store.write([PutIntent(intent(f"t{start + n}", "created", float(1 + start + n))) for n in range(2 * PRUNE_EVERY)])
    assert [one.token for one in (await store.load()).intents] == ["old"]
    with store.transaction(write=False) as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM intents").scalar_one() == INTENTS_KEPT + 1


async def test_a_batch_of_many_objects(store: SqlStore) -> None:
    many = [thing(f"n{number:05}") for number in range(1300)]
    await store.write([PutObject(one, 0) for one in many])
    await store.write([PutObject(replace(one, version=2), 1) for one in many])
    await store.write([DropObject(one.key, one.uid) for one in many[1:]])
    assert await store.objects() == [replace(many[0], version=2)]


async def test_a_cancelled_write_is_carried_out(store: SqlStore) -> None:
    writing = asyncio.ensure_future(store.write([put("a")]))
    await asyncio.sleep(0)
    writing.cancel()
    await asyncio.gather(writing, return_exceptions=True)
    await store.write([put("b")])  # behind the first one
    assert [obj.key.name for obj in await store.objects()] == ["a", "b"]


async def test_after_closing_everything_says_so(store: SqlStore) -> None:
    await store.write([put("a")])
    await store.aclose()
    await store.aclose()
    with pytest.raises(ReconcilerError, match="closed"):
        await store.write([put("b")])
    with pytest.raises(ReconcilerError, match="closed"):
        await store.load()


async def test_closing_writes_what_was_handed_in(opened: Open) -> None:
    store = opened()
    writing = [asyncio.ensure_future(store.write([put(f"n{number}")])) for number in range(20)]
    await asyncio.sleep(0)
    await store.aclose()
    await asyncio.gather(*writing)
    assert len(await opened().objects()) == 20
