"""Notices in the store: written with what they tell of, delivered at least once, bounded, whatever fails (in virtual time)."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from reconciler.core.keys import Json, Key
from reconciler.core.notices import Filter
from reconciler.core.prune import Blocked, Removal
from reconciler.engine.loop import Engine
from reconciler.engine.outbox import ROW, Want
from reconciler.engine.ports import PutMeta
from reconciler.engine.settings import EngineSettings
from reconciler.engine.supervision import Supervisor
from reconciler.errors import NoRoom, Unreachable
from reconciler.notify.delivery import Delivery, Origin
from reconciler.notify.ways import Declined, Later
from reconciler.store.sqlstore import open_store
from tests.engine.stage import SETTINGS, Stage, Watched, failing, pass_time
from tests.faults.harness import Crash, Fault, Life, virtual
from tests.world import World


@dataclass
class Receiver:
    """Somebody outside, who outlives the controller. `answer`: raises what it answers to a notice."""

    got: list[Json] = field(default_factory=list)
    answer: Callable[[Json], None] = lambda event: None

    async def deliver(self, event: Json) -> None:
        self.got.append(event)
        self.answer(event)

    async def aclose(self) -> None:
        return None

    def types(self) -> list[str]:
        return [str(event["type"]).removeprefix("sh.vers.fleet.") for event in self.got]

    def by_id(self) -> dict[str, str]:
        return {str(event["id"]): f"{str(event['type']).removeprefix('sh.vers.fleet.')} {event['subject']}" for event in self.got}


class Telling(Watched):
    """A controller with sinks."""

    def __init__(self, world: World, path: Path, life: Life, settings: EngineSettings) -> None:
        super().__init__(world, path, life, settings)
        self.receivers: dict[str, Receiver] = {}
        self.tasks: list[asyncio.Task[None]] = []

    async def up(self) -> Engine:
        engine = await super().up()
        assert engine.outbox is not None
        delivery = Delivery(engine.outbox, engine.store, engine.effects, Origin("i", "default"), lambda: 0.5)

        async def run(name: str) -> None:
            try:
                await delivery.run(name, self.receivers[name])
            except Crash:
                return

        supervisor = Supervisor()
        self.tasks = [supervisor.start("notice delivery", lambda name=name: run(name)) for name in self.receivers]  # type: ignore[misc]
        return engine

    async def down(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await super().down()


class Told(Stage):
    def __init__(self, path: Path, *wants: Want) -> None:
        world = World()
        super().__init__(world, path / "state.db")
        self.controller: Telling = Telling(world, path / "state.db", self.weather, SETTINGS)
        self.controller.wants = wants
        self.controller.receivers = {want.name: Receiver() for want in wants}

    def receiver(self, name: str = "ops") -> Receiver:
        return self.controller.receivers[name]

    def counts(self, name: str = "ops") -> dict[str, int]:
        return dict(self.engine.notices()[name].counts)

    async def quiet(self) -> None:
        """Until nothing waits to be delivered."""
        await self.until(lambda: all(one.waiting == 0 for one in self.engine.notices().values()), "all is delivered")


def tell(path: Path, story: Callable[[Told], Coroutine[Any, Any, None]], *wants: Want) -> Told:
    run = Told(path, *(wants or (Want("ops"),)))

    async def main() -> None:
        await run.alive()
        try:
            await story(run)
        finally:
            await run.controller.down()

    virtual(main)
    return run


def rows(path: Path) -> dict[str, str]:
    """What is in the outbox now."""

    async def read() -> dict[str, str]:
        store = open_store(path / "state.db", inline=True, read_only=True)
        image = await store.load()
        await store.aclose()
        return {name: value for name, value in image.meta.items() if name.startswith(ROW) and value}

    return asyncio.run(read())


def test_the_end_of_a_task_and_what_needs_a_person_are_told_once(tmp_path: Path) -> None:
    async def story(run: Told) -> None:
        await run.lieutenant()
        assert await run.ends(await run.task("good")) == "Succeeded"
        await run.task("a", after=[{"name": "b"}])
        await run.task("b", after=[{"name": "a"}])
        await run.until(lambda: run.receiver().types().count("attention.needed") == 2, "both are told of")
        await pass_time(300)
        await run.quiet()

    run = tell(tmp_path, story)
    assert Counter(run.receiver().types()) == {"task.finished": 1, "attention.needed": 2}
    assert {event["data"]["reason"] for event in run.receiver().got} == {"Completed", "DependencyCycle"}  # type: ignore[index,call-overload]
    assert rows(tmp_path) == {}


def test_a_trouble_that_is_over_soon_is_not_told_and_one_that_lasts_is_told_to_be_over(tmp_path: Path) -> None:
    async def story(run: Told) -> None:
        await run.task("early")  # its lieutenant comes a moment later, as files of one folder do
        await pass_time(3)
        await run.lieutenant()
        assert await run.ends(Key("Task", "default", "early")) == "Succeeded"
        await run.task("late", to="db")
        await pass_time(30)
        await run.lieutenant("db")
        assert await run.ends(Key("Task", "default", "late")) == "Succeeded"
        await pass_time(30)

    run = tell(tmp_path, story)
    told = [
        f"{event['subject']} {event['type']}".removeprefix("default/task/").replace("sh.vers.fleet.", "") for event in run.receiver().got
    ]
    assert sorted(told) == ["early task.finished", "late attention.needed", "late attention.over", "late task.finished"]
    needed, over = (next(e for e in run.receiver().got if str(e["type"]).endswith(end)) for end in ("needed", "over"))
    assert over["data"]["ends"] == needed["id"]  # type: ignore[index,call-overload]


def test_the_breaker_is_told_when_it_opens_and_when_it_closes(tmp_path: Path) -> None:
    async def story(run: Told) -> None:
        run.weather.rules["vers.create_vm"] = failing(lambda: NoRoom("the platform has no room"), times=2)
        await run.lieutenant()
        await run.ready()
        await run.until(lambda: "breaker.closed" in run.receiver().types(), "it is told to be over")
        await run.quiet()

    run = tell(tmp_path, story, Want("ops", Filter(events=("breaker",))))
    opened, closed = run.receiver().got
    assert run.receiver().types() == ["breaker.opened", "breaker.closed"], "and no try in between is news"
    assert closed["data"]["ends"] == opened["id"]  # type: ignore[index,call-overload]
    assert "no room" in opened["data"]["message"]  # type: ignore[index,call-overload,operator]


def test_each_sink_gets_what_it_asked_for(tmp_path: Path) -> None:
    async def story(run: Told) -> None:
        await run.lieutenant()
        assert await run.ends(await run.task("good")) == "Succeeded"
        await pass_time(30)

    wants = (Want("all"), Want("bad", Filter(events=("failed", "attention"))), Want("other", Filter(namespaces=("other",))))
    run = tell(tmp_path, story, *wants)
    assert {name: receiver.types() for name, receiver in run.controller.receivers.items()} == {
        "all": ["task.finished"],
        "bad": [],
        "other": [],
    }


def test_a_receiver_that_fails_gets_it_again_with_the_same_id_and_holds_up_no_other(tmp_path: Path) -> None:
    async def story(run: Told) -> None:
        answers = iter([Unreachable("500"), Later("429", "", "", 77.0), Unreachable("lost")])

        def answer(event: Json) -> None:
            if (error := next(answers, None)) is not None:
                raise error

        run.receiver("ill").answer = answer
        await run.lieutenant()
        began = asyncio.get_running_loop().time()
        assert await run.ends(await run.task("good")) == "Succeeded"
        await run.until(lambda: len(run.receiver("well").got) == 1, "the other one has it")
        assert asyncio.get_running_loop().time() - began < 60, "at once"
        await run.until(lambda: len(run.receiver("ill").got) == 4, "it is tried until it is taken")
        assert asyncio.get_running_loop().time() - began > 77, "and not before it asked for it"
        await pass_time(1000)
        assert run.counts("ill") == {"failed": 3, "delivered": 1}

    run = tell(tmp_path, story, Want("ill"), Want("well"))
    assert len({event["id"] for event in run.receiver("ill").got}) == 1


def test_what_a_receiver_will_never_take_is_given_up_and_counted(tmp_path: Path) -> None:
    async def story(run: Told) -> None:
        def answer(event: Json) -> None:
            raise Declined("422")

        run.receiver().answer = answer
        await run.lieutenant()
        await run.ends(await run.task("one"))
        await run.until(lambda: run.counts() == {"refused": 1}, "it is given up")
        run.receiver().answer = lambda event: None
        await run.ends(await run.task("two"))
        await run.until(lambda: run.counts().get("delivered") == 1, "the next one comes through")

    tell(tmp_path, story)
    assert rows(tmp_path) == {}


def test_a_dead_receiver_costs_so_many_rows_and_the_oldest_go_first(tmp_path: Path) -> None:
    def answer(event: Json) -> None:
        raise Unreachable("dead")

    async def story(run: Told) -> None:
        run.receiver().answer = answer
        await run.lieutenant()
        for number in range(8):
            await run.ends(await run.task(f"t{number}"))
        await pass_time(5)
        figures = run.engine.notices()["ops"]
        assert figures.waiting == 4
        assert figures.counts["dropped"] == 4
        assert figures.oldest > 0
        run.receiver().answer = lambda event: None
        run.receiver().got.clear()
        await run.quiet()

    run = tell(tmp_path, story, Want("ops", slots=4))
    told = [str(event["subject"]).removeprefix("default/task/") for event in run.receiver().got]
    assert told == ["t0", "t5", "t6", "t7"], "the one that is being tried stays"


def test_a_sink_that_is_new_hears_what_needs_somebody_now_and_not_what_is_past(tmp_path: Path) -> None:
    async def story(run: Told) -> None:
        await run.lieutenant()
        await run.ends(await run.task("good"))
        await run.task("a", after=[{"name": "a2"}])
        await run.task("a2", after=[{"name": "a"}])
        await pass_time(30)
        assert len(run.receiver().got) == 3
        await run.controller.down()
        run.controller.wants = (Want("fresh"),)
        run.controller.receivers = {"fresh": Receiver()}
        await run.alive()
        await run.until(lambda: len(run.receiver("fresh").got) == 2, "it hears")
        await pass_time(30)
        assert run.receiver("fresh").types() == ["attention.needed"] * 2
        await run.controller.down()
        await run.alive()
        await pass_time(30)
        assert len(run.receiver("fresh").got) == 2, "once"

    tell(tmp_path, story)


def test_what_waits_for_a_sink_that_is_not_declared_any_more_is_dropped(tmp_path: Path) -> None:
    def dead(event: Json) -> None:
        raise Unreachable("dead")

    async def story(run: Told) -> None:
        run.receiver().answer = dead
        await run.lieutenant()
        await run.ends(await run.task("good"))
        await pass_time(5)
        await run.controller.down()
        run.controller.wants, run.controller.receivers = (Want("other"),), {"other": Receiver()}
        await run.alive()
        await pass_time(5)

    tell(tmp_path, story)
    assert rows(tmp_path) == {}


def test_without_a_sink_nothing_is_made_or_written(tmp_path: Path) -> None:
    run = Stage(World(), tmp_path / "state.db")

    async def main() -> None:
        await run.alive()
        await run.lieutenant()
        await run.ends(await run.task("good"))
        assert run.engine.notices() == {}
        await run.controller.down()

    virtual(main)
    assert rows(tmp_path) == {}


EXPECTED = Counter({"task.finished default/task/good": 1, "attention.needed default/task/a": 1, "attention.needed default/task/b": 1})


async def fleet(run: Told) -> None:
    """News of two sorts."""
    await run.lieutenant()
    await run.task("good")
    await run.task("a", after=[{"name": "b"}])
    await run.task("b", after=[{"name": "a"}])
    good = Key("Task", "default", "good")
    await run.until(lambda: run.phase(good) == "Succeeded", "good ends")
    await run.until(lambda: len(run.receiver().by_id()) >= 3, f"all is told, not only {run.receiver().by_id()}")
    await pass_time(15)
    await run.quiet()


@pytest.mark.slow
def test_whatever_the_store_and_the_process_do_every_notice_comes_and_keeps_its_id(tmp_path: Path) -> None:
    """A crash before or after, an error, or a lost answer, at each write of the store, and each of them at each delivery."""
    seen = tell(tmp_path / "first", fleet)
    names = list(seen.life.names)
    told = 0
    for number, name in enumerate(names, 1):
        if name not in ("store.write", "notice.deliver"):
            continue
        kinds = ("crash-before", "crash-after", "error", "lost")
        for kind in kinds if name == "notice.deliver" else kinds[number % 4 : number % 4 + 1]:
            where = tmp_path / f"{number}-{kind}"
            run = Told(where, Want("ops"))
            run.life.fault = Fault(number, kind)
            where.mkdir()

            async def main(run: Told = run) -> None:
                await run.alive()
                await fleet(run)
                await run.controller.down()

            virtual(main)
            assert Counter(run.receiver().by_id().values()) == EXPECTED, f"{kind} at {number} ({name}): {run.receiver().types()}"
            assert rows(where) == {}
            told += 1
    assert told > 30


def test_the_outbox_never_waits_for_a_receiver(tmp_path: Path) -> None:
    """A receiver that never answers: work goes on at its pace."""

    class Hangs(Receiver):
        async def deliver(self, event: Json) -> None:
            await asyncio.Event().wait()

    async def story(run: Told) -> None:
        run.controller.receivers["ops"] = Hangs()
        await run.controller.down()
        await run.alive()
        await run.lieutenant()
        begun = asyncio.get_running_loop().time()
        for number in range(5):
            await run.ends(await run.task(f"t{number}"))
        assert asyncio.get_running_loop().time() - begun < 120

    tell(tmp_path, story)


@pytest.mark.guarantee("G-37", "G-42", "G-43")
def test_what_is_wrong_where_things_are_declared_is_told_once_and_that_it_is_over(tmp_path: Path) -> None:
    """A file that became invalid, a blocked deletion of two objects, and a repository that can't be reached."""

    def repository(reason: str) -> PutMeta:
        trouble = {"reason": reason, "message": "no route", "since": "2026-11-30T10:00:00Z"} if reason else {}
        return PutMeta("git/1", json.dumps({"url": "https://forge/fleet.git", "commit": "c", "trouble": trouble}))

    async def story(run: Told) -> None:
        key = await run.lieutenant()
        item = run.engine.table.get(key)
        assert item is not None
        await run.engine.table.update([(key, lambda obj: replace(obj, source="file", origin="a.yaml:1"))])
        blocked = Blocked("s", "fleet", (Removal(key), Removal(Key("Task", "default", "x"))), "`maxDelete` allows 0", "h")
        for _ in range(3):
            run.engine.declarations.flawed({key: "a.yaml:3:1: no such field"})
            await run.engine.declarations.note_blocked([blocked])
            await run.engine.store.write([repository("RepositoryUnreachable")])
            await pass_time(60)
        await run.quiet()
        assert Counter(_told(run)) == {("attention.needed", why): 1 for why in WRONG}
        run.engine.declarations.flawed({})
        await run.engine.declarations.note_blocked([])
        await run.engine.store.write([repository("")])
        await pass_time(60)
        await run.quiet()

    run = tell(tmp_path, story)
    assert Counter(_told(run)) == {(what, why): 1 for why in WRONG for what in ("attention.needed", "attention.over")}
    repositories = {str(event["data"]["message"]) for event in run.receiver().got if str(event["subject"]).startswith("repository/")}  # type: ignore[index, call-overload]
    assert repositories == {"no route", "https://forge/fleet.git"}
    assert rows(tmp_path) == {}


WRONG = ("DeclarationInvalid", "PruneBlocked", "RepositoryUnreachable")


def _told(run: Told) -> list[tuple[str, str]]:
    return [(kind, str(event["data"]["reason"])) for kind, event in zip(run.receiver().types(), run.receiver().got, strict=True)]  # type: ignore[index, call-overload]
