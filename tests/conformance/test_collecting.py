"""Workers begin with what lasts long, and nothing is lost or taken apart by that."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.collecting import longest_first, seconds_of


@pytest.fixture
def items(request: pytest.FixtureRequest) -> list[pytest.Item]:
    """Three that may last long, in three files, and two that wait, between others."""

    class Made(pytest.Item):
        def runtest(self) -> None:
            raise NotImplementedError

    def made(file: str, name: str, seconds: int | None = None) -> pytest.Item:
        item = Made.from_parent(request.node.parent, name=f"{file}:{name}")
        item.path = Path(file)
        if seconds is not None:
            item.add_marker(pytest.mark.timeout(seconds))
        return item

    return [
        made("a", "1"), made("a", "2"), made("b", "1", 300), made("b", "2"), made("c", "1"), made("d", "1", 900), made("e", "1"),
        made("e", "2"), made("f", "1", 600), made("kube/g", "1"), made("kube/h", "1"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("workers", "expected"),
    [
        (1, "d:1 f:1 b:1 b:2 kube/g:1 kube/h:1 a:1 a:2 c:1 e:1 e:2"),
        (2, "d:1 b:1 b:2 kube/g:1 kube/h:1 | f:1 a:1 a:2 c:1 e:1 e:2"),
        (3, "d:1 kube/g:1 a:1 | f:1 kube/h:1 a:2 c:1 | b:1 b:2 e:1 e:2"),
    ],
)
def test_each_worker_begins_with_a_file_that_lasts_long(
    items: list[pytest.Item], monkeypatch: pytest.MonkeyPatch, workers: int, expected: str
) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", str(workers))
    longest_first(items)
    assert [item.name for item in items] == expected.replace(" |", "").split()


def test_without_more_time_than_usual_the_order_stays(items: list[pytest.Item], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "4")
    usual = [item for item in items if not seconds_of(item) and "kube" not in item.path.parts]
    ordered = list(usual)
    longest_first(ordered)
    assert ordered == usual
