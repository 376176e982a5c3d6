"""By whom commits of repositories are signed, as the rows of the repositories remember it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from reconciler.core.keys import Json, JsonValue, as_map, as_strings

MOST = 100
"""Signed commits of a repository that are remembered, the newest: of objects that are kept although none of these declares them any more
it is not told by whom their commit was signed."""
_SIGNED = "signed"


def signers(rows: Iterable[str]) -> dict[str, str]:
    """By commit, what git said of the key that signed it. `rows`: of repositories; one that can't be read is passed over."""
    found: dict[str, str] = {}
    for row in rows:
        try:
            found |= as_strings(as_map(json.loads(row or "{}")).get(_SIGNED))
        except ValueError:
            continue
    return found


def with_signer(row: Mapping[str, JsonValue], commit: str, signer: str) -> Json:
    """What a row has to remember, with one more commit; nothing where none was ever verified. `signer`: '' where that was not asked."""
    known = as_strings(row.get(_SIGNED))
    if signer:
        known = {**{name: value for name, value in known.items() if name != commit}, commit: signer}
    return {_SIGNED: dict(list(known.items())[-MOST:])} if known else {}
