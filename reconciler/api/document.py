"""What whole documents of every kind have: apiVersion, kind, metadata, spec, status."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field
from pydantic import JsonValue as AnyJson

from reconciler.api.meta import Model, ObjectMeta

_Version = Annotated[Literal["fleet.vers.sh/v1alpha1"], Field()]


class Document(Model):
    """What every document has. `status` may stand there (the output of `get`) and is not read."""

    api_version: _Version = "fleet.vers.sh/v1alpha1"
    """Group and version of this API."""
    metadata: ObjectMeta
    """Name, labels, annotations."""
    status: dict[str, AnyJson] | None = None
    """What was observed; written by the controller, never read from a declaration."""
