"""Workers begin with what lasts long, and nothing is lost or taken apart by that."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.collecting import longest_first, seconds_of, waits


@pytest.fixture
def items(request: pytest.FixtureRequest) -> list[pytest.Item]:
    """Three that may last long, in three files, and two that wait, between others."""

    class Made(pytest.Item):
        def runtest(self) -> None:
            raise NotImplementedError

    def made(file: str, name: str, *marks: pytest.MarkDecorator) -> pytest.Item:
        item = Made.from_parent(request.node.parent, name=f"{file}:{name}")
        item.path = Path(file)
        for mark in marks:
            item.add_marker(mark)
        return item

    def lasting(seconds: int) -> pytest.MarkDecorator:
        return pytest.mark.timeout(seconds)

    waiting = pytest.mark.real("kube")
    return [
        made("a", "1"), made("a", "2"), made("b", "1", lasting(300)), made("b", "2"), made("c", "1"), made("d", "1", lasting(900)),
        made("e", "1"), made("e", "2"), made("f", "1", lasting(600)), made("g", "1", waiting), made("h", "1", waiting),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        (1, "a:1 a:2 b:1 b:2 c:1 d:1 e:1 e:2 f:1 g:1 h:1"),
        (2, "d:1 b:1 b:2 g:1 h:1 | f:1 a:1 a:2 c:1 e:1 e:2"),
        (3, "d:1 g:1 a:1 | f:1 h:1 a:2 c:1 | b:1 b:2 e:1 e:2"),
    ],
)
def test_each_worker_begins_with_a_file_that_lasts_long(items: list[pytest.Item], workers: int, expected: str) -> None:
    longest_first(items, workers)
    assert [item.name for item in items] == expected.replace(" |", "").split()


def test_without_more_time_than_usual_the_order_stays(items: list[pytest.Item]) -> None:
    usual = [item for item in items if not seconds_of(item) and not waits(item)]
    ordered = list(usual)
    longest_first(ordered, 4)
    assert ordered == usual
