"""Times and ids of the platform, in every form that occurs."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.snapshot.vm import VmState
from reconciler.core.times import http_date
from reconciler.vers import models


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2026-04-17T20:01:02Z", 1776456062.0),
        ("2026-04-17T20:01:02", 1776456062.0),
        ("2026-04-17T22:01:02+02:00", 1776456062.0),
        ("2026-04-17T20:01:02.5Z", 1776456062.5),
        ("2026-04-17T20:01:02.123456Z", 1776456062.123456),
        ("2026-04-17T20:01:02.123456789Z", 1776456062.123456),
        ("2026-04-17T18:01:02.123456789123-02:00", 1776456062.123456),
        ("2026-04-17t20:01:02z", 1776456062.0),
        ("2026-04-17 20:01:02 UTC", 1776456062.0),
        ("2026-04-17 20:01:02.123456789+00:00", 1776456062.123456),
    ],
)
def test_times_are_read_in_every_form(text: str, seconds: float) -> None:
    assert models.timestamp(text) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize("bad", [None, "", "soon", 7, [], "2026-13-01T00:00:00Z"])
def test_what_is_no_time_is_not_guessed(bad: models.JsonValue) -> None:
    with pytest.raises(models.Malformed):
        models.timestamp(bad)


@given(st.text())
def test_no_word_for_a_state_is_an_error(word: str) -> None:
    assert models.state(word) in VmState


@pytest.mark.parametrize(
    ("word", "state"),
    [
        ("booting", VmState.BOOTING),
        ("Running", VmState.RUNNING),
        ("PAUSED", VmState.SUSPENDED),
        ("sleeping", VmState.SUSPENDED),
        ("dead", VmState.DEAD),
        ("migrating", VmState.UNKNOWN),
        (None, VmState.UNKNOWN),
        (3, VmState.UNKNOWN),
    ],
)
def test_states_are_classes(word: models.JsonValue, state: VmState) -> None:
    assert models.state(word) is state


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)


@given(JSON)
def test_any_json_is_read_or_refused_as_malformed(body: models.JsonValue) -> None:
    for read in (models.vm, models.metadata, models.list_rows):
        with suppress(models.Malformed):
            assert read(body) is not None
    assert models.created_id(body) is None or isinstance(body, dict)
    assert models.committed_id(body) is None or isinstance(body, dict)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("Fri, 17 Apr 2026 20:05:00 GMT", 1776456300.0),
        ("Fri, 17 Apr 2026 22:05:00 +0200", 1776456300.0),
        ("Fri, 17 Apr 2026 20:05:00", None),
        (None, None),
        ("", None),
        ("yesterday", None),
        ("Fri, 99 Foo 2026", None),
        ("Fri, 17 Apr +9999999999 20:05:00 GMT", None),
        ("Fri, 17 Apr 2026 20:05:00 +9999999999", None),
        ("Fri, 17 Apr 2026 20:05:00 +" + "9" * 5000, None),
    ],
)
def test_a_date_header_is_a_time_or_nothing(header: str | None, seconds: float | None) -> None:
    assert http_date(header) == seconds


@given(st.lists(st.sampled_from(["Fri,", "17", "Apr", "2026", "20:05:00", "GMT", "-0000", "+9999999999", "9" * 30, "0", ":", "-", "²"])))
def test_any_date_header_is_a_time_or_nothing(words: list[str]) -> None:
    assert isinstance(http_date(" ".join(words)), float | None)


@given(st.lists(st.fixed_dictionaries({"vm_id": JSON, "created_at": st.just("2026-04-17T20:01:02Z") | JSON, "labels": JSON}) | JSON))
def test_any_rows_are_read_or_refused_as_malformed(rows: list[models.JsonValue]) -> None:
    last = models.Listing()
    with suppress(models.Malformed):
        last.add(rows, models.Listing())
    again = models.Listing()
    again.add(list(last.rows.values()), last)
    assert again.vms == last.vms


def row(**changes: object) -> dict[str, object]:
    return {
        "vm_id": "0f5a6b1c-1111-4222-8333-444455556666",
        "owner_id": "o",
        "created_at": "2026-04-17T20:05:00Z",
        "state": "running",
        **changes,
    }


@pytest.mark.guarantee("G-03")
def test_a_vm_that_is_listed_twice_is_one_and_one_that_contradicts_itself_is_no_list() -> None:
    listing = models.Listing()
    listing.add([row(), row()], models.Listing())  # type: ignore[list-item]
    assert len(listing.vms) == 1
    for other in ({"state": "dead"}, {"labels": {"a": "b"}}, {"vm_id": str(row()["vm_id"]).upper(), "state": "dead"}):
        with pytest.raises(models.Malformed, match="twice"):
            models.Listing().add([row(), row(**other)], models.Listing())  # type: ignore[list-item]


@pytest.mark.guarantee("G-03")
def test_the_case_of_an_id_says_nothing() -> None:
    listing = models.Listing()
    listing.add([row(vm_id=str(row()["vm_id"]).upper())], models.Listing())  # type: ignore[list-item]
    assert list(listing.vms) == [row()["vm_id"]]
