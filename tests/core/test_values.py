"""`replaced` is `dataclasses.replace`, and `but` of a record pydantic's `model_copy`, only cheaper."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, field, replace

import pytest

from reconciler.core.records import LieutenantRecord, SlotRecord
from reconciler.core.values import replaced


@dataclass(frozen=True, slots=True)
class Point:
    x: int
    y: int = 0
    tags: tuple[str, ...] = ()
    sum: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "sum", self.x + self.y)


@dataclass(frozen=True)
class Place:
    x: int
    y: int = 0
    tags: tuple[str, ...] = ()


BOTH = pytest.mark.parametrize("point", [Point(1, 7, ("t",)), Place(1, 7, ("t",))])


@BOTH
@pytest.mark.parametrize("changes", [{}, {"x": 5}, {"y": 2, "tags": ("a",)}])
def test_it_returns_what_dataclasses_replace_returns(changes: dict[str, object], point: Point | Place) -> None:
    made = replaced(point, **changes)  # type: ignore[arg-type]
    assert made == replace(point, **changes)  # type: ignore[arg-type]
    assert not isinstance(made, Point) or made.sum == made.x + made.y
    assert (point.x, point.y, point.tags) == (1, 7, ("t",))
    with pytest.raises(FrozenInstanceError):
        made.x = 9  # type: ignore[misc]


@BOTH
def test_a_field_that_does_not_exist_is_refused(point: Point | Place) -> None:
    with pytest.raises(TypeError, match="colour"):
        replaced(point, colour="red")  # type: ignore[call-arg]


@pytest.mark.parametrize("changes", [{}, {"suspend_asked_at": 5.0}, {"slot": SlotRecord(vm_id="v", epoch=3), "detached": True}])
def test_a_changed_record_is_what_pydantic_copies(changes: dict[str, object]) -> None:
    record = LieutenantRecord(slot=SlotRecord(vm_id="u"), abort_at=1.0)
    made, copied = record.but(**changes), record.model_copy(update=changes)
    assert made == copied
    assert made.model_fields_set == copied.model_fields_set
    assert made.dump() == copied.dump()
    assert LieutenantRecord.load(made.dump()) == made
    assert (made.model_extra, made.__pydantic_private__) == (copied.model_extra, copied.__pydantic_private__)
    assert (record.slot.vm_id, record.suspend_asked_at, record.model_fields_set) == ("u", 0.0, {"slot", "abort_at"})
    with pytest.raises(ValueError, match="frozen"):
        made.abort_at = 2.0
