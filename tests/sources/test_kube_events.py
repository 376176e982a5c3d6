"""The same news of the same object is one Kubernetes Event that counts."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from reconciler.core.keys import Json, Key
from reconciler.engine.recorder import Recorder
from reconciler.engine.supervision import Supervisor
from reconciler.sources.kube.client import Cluster
from reconciler.sources.kube.events import KubeEvents
from tests.engine.test_events import Hands

TASK = Key("Task", "web", "one")


class Board:
    """Takes what is posted."""

    def __init__(self) -> None:
        self.created: list[Json] = []
        self.counted: list[Json] = []
        self.news = asyncio.Semaphore(0)

    async def create(self, path: str, body: Json) -> Json:
        self.created.append(body)
        self.news.release()
        return body

    async def merge(self, path: str, body: Json) -> Json:
        self.counted.append(body)
        self.news.release()
        return body


async def posted(*messages: str, apart: float = 1.0) -> Board:
    board = Board()
    events = KubeEvents(cast(Cluster, board), "test", lambda: (), lambda: None, Supervisor())
    events.start()
    clock = Hands(1.7e9)
    recorder = Recorder(clock)
    recorder.listen(events.post)
    for message in messages:
        recorder.event(TASK, "u", "Delivered", message)
        clock.time += apart
    async with asyncio.timeout(10):
        for _ in messages:
            await board.news.acquire()
    await events.stop()
    return board


def series(board: Board) -> list[Any]:
    return [cast(dict[str, Any], one["series"])["count"] for one in board.counted]


def test_ten_deliveries_of_a_task_are_one_event_that_counts() -> None:
    board = asyncio.run(posted(*(f"attempt {n} of 10: delivered at byte {n * 4711}" for n in range(1, 11))))
    assert [one["note"] for one in board.created] == ["attempt 1 of 10: delivered at byte 4711"]
    assert series(board) == list(range(2, 11))


@pytest.mark.parametrize(("messages", "apart"), [(("it is busy", "it is ready"), 1.0), (("try 1", "try 2"), 3600.0)])
def test_other_news_and_news_after_a_while_are_events_of_their_own(messages: tuple[str, ...], apart: float) -> None:
    board = asyncio.run(posted(*messages, apart=apart))
    assert [one["note"] for one in board.created] == list(messages)
    assert board.counted == []
