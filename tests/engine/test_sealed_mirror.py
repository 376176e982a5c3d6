"""What an agent says of a secret is not stored, and is there again where the conversation continues (G-60, G-32)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.engine.redaction import seal, unseal

CANARY = 'sk-canary-"quoted"-ünï-0123456789'


class Known:
    def __init__(self, *values: str) -> None:
        self.values = values

    def get(self, namespace: str, name: str, key: str) -> str | None:
        return None

    def known(self) -> tuple[str, ...]:
        return self.values


@pytest.mark.guarantee("G-60")
@pytest.mark.parametrize("ascii_only", [True, False])
def test_a_secret_in_a_session_line_is_stored_as_a_stand_in_of_the_same_length(ascii_only: bool) -> None:
    line = json.dumps({"text": f"the key is {CANARY}, again {CANARY}"}, ensure_ascii=ascii_only).encode() + b"\n"
    stored = seal(line, Known(CANARY))
    assert len(stored) == len(line)
    assert b"canary" not in stored
    assert json.loads(stored)["text"].startswith("the key is ~")
    assert unseal(stored, Known(CANARY)) == line


@given(st.binary(max_size=300), st.text(min_size=8, max_size=40))
def test_without_the_secret_nothing_changes_and_with_it_the_way_back_is_exact(data: bytes, secret: str) -> None:
    assert seal(data, Known()) == data
    inside = json.dumps(secret, ensure_ascii=False)[1:-1]
    whole = b"before " + inside.encode("utf-8", "surrogatepass") + b" after" if inside.isascii() else b"before after"
    assert unseal(seal(whole, Known(secret)), Known(secret)) == whole


def test_the_store_has_no_trace_of_it(tmp_path: Path) -> None:
    stored = seal(f'{{"text":"{CANARY[:9]}0123456789abcdef"}}\n'.encode(), Known(CANARY[:9] + "0123456789abcdef"))
    (tmp_path / "dump").write_bytes(stored)
    assert b"0123456789abcdef" not in (tmp_path / "dump").read_bytes()
