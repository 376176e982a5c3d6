"""Tasks of one second in a cluster keep the order in which they arrived, also when another operator reads them."""

from __future__ import annotations

from typing import Any

from reconciler.core.times import timestamp_us
from reconciler.sources.kube.arrivals import Arrivals, order

SECOND = "2026-11-29T12:00:00Z"


def made(name: str, version: str, second: str = SECOND, **status: str) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": f"uid-{name}", "creationTimestamp": second, "resourceVersion": version}, "status": status}


def test_what_arrived_first_counts_as_made_first() -> None:
    arrivals = Arrivals()
    several = [made("zulu", "7"), made("mike", "8"), made("alfa", "9")]
    for obj in several:
        arrivals.note(obj)
    assert sorted(several, key=arrivals.take) == several
    assert [f"{timestamp_us(Arrivals().take(obj))[:19]}Z" for obj in several] == [SECOND] * 3


def test_a_list_is_taken_in_the_order_of_its_versions() -> None:
    listed = [made("alfa", "10"), made("mike", "9"), made("zulu", "3"), made("older", "99", "2026-11-29T11:59:59Z"), made("odd", "x")]
    assert [one["metadata"]["name"] for one in sorted(listed, key=order)] == ["older", "odd", "zulu", "mike", "alfa"]


def test_status_keeps_the_order_for_an_operator_that_has_lost_its_store() -> None:
    first = Arrivals()
    zulu, alfa = made("zulu", "7"), made("alfa", "8")
    for obj in (zulu, alfa):
        first.note(obj)
        obj["status"]["arrivedAt"] = timestamp_us(first.take(obj))
    later = Arrivals()
    for obj in (alfa, zulu):
        later.note(obj)
    assert later.take(zulu) < later.take(alfa)
    forged = made("x", "1", arrivedAt="1999-01-01T00:00:00Z")
    assert f"{timestamp_us(later.take(forged))[:19]}Z" == SECOND


def test_ten_thousand_of_one_second_stay_in_that_second() -> None:
    arrivals = Arrivals()
    for number in range(120_000):
        arrivals.note(made(f"n{number}", "1"))
    assert timestamp_us(arrivals.take(made("n119999", "1"))).startswith("2026-11-29T12:00:00.9999")
