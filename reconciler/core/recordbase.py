"""What every record is made of: frozen, with defaults left out where it is stored."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict

from reconciler.core.keys import Json


class Stored(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    @classmethod
    def load(cls, data: Json) -> Self:
        return cls.model_validate(data)

    def dump(self) -> Json:
        dumped: Json = self.model_dump(mode="json", exclude_defaults=True)
        return dumped

    def __eq__(self, other: object) -> bool:
        """As pydantic's; the same record, as defaults are, without a look at its fields."""
        return self is other or super().__eq__(other)

    def but(self, **changes: object) -> Self:
        """A copy with these fields changed (validated types are the caller's)."""
        return self.model_copy(update=changes)
