"""Two ends of a conversation: where they part is found exactly, and a secret's stand-in is no difference (G-32, G-60)."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.engine.observe.comparison import AT_ONCE, blanked, blanks_of, digests_of, where_they_part
from reconciler.engine.redaction import seal

SECRET = "sk-live-0123456789abcdef"


class Known:
    def get(self, namespace: str, name: str, key: str) -> str | None:
        return None

    def holds(self, kind: str, namespace: str, name: str) -> bool:
        return False

    def unread(self, kind: str, namespace: str, name: str) -> str:
        return ""

    def known(self) -> tuple[str, ...]:
        return (SECRET,)

    def config(self, namespace: str, name: str, key: str) -> str | None:
        return None


def part(mirror: bytes, file: bytes) -> tuple[int | None, int]:
    """Where they part, and how many requests it took."""
    asked = [0]
    blanks = blanks_of(mirror)

    async def ask(ends: Sequence[int]) -> tuple[str, ...]:
        asked[0] += 1
        assert list(ends) == sorted(set(ends))
        assert 0 < len(ends) <= AT_ONCE
        return digests_of(blanked(file, blanks), ends)

    return asyncio.run(where_they_part(blanked(mirror, blanks), len(file), ask)), asked[0]


def lines(count: int, text: str = "line") -> list[bytes]:
    return [f"{text} {number}\n".encode() for number in range(count)]


@pytest.mark.guarantee("G-32")
@given(st.lists(st.binary(max_size=8).map(lambda b: b.replace(b"\n", b"") + b"\n"), min_size=1, max_size=90), st.data())
def test_where_they_part_is_the_last_line_end_they_share(said: list[bytes], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(said) - 1))
    mirror, common = b"".join(said), b"".join(said[:at])
    other = data.draw(st.binary(min_size=len(said[at]), max_size=40).filter(lambda b: not b.startswith(said[at])))
    assert part(mirror, common + other)[0] == len(common)


@pytest.mark.guarantee("G-32")
@pytest.mark.parametrize("cut", [1, 6, 7, 100, 5000])
def test_the_beginning_of_the_other_is_no_difference(cut: int) -> None:
    whole = b"".join(lines(1000))
    assert part(whole, whole[:cut]) == (None, 1)
    assert part(b"".join(lines(700)), whole) == (None, 1)


def test_it_is_found_in_few_requests() -> None:
    said = lines(30_000)
    mirror = b"".join(said)
    said[20_001] = b"other\n"
    at, asked = part(mirror, b"".join(said))
    assert at == len(b"".join(lines(20_001)))
    assert asked <= 5


@pytest.mark.guarantee("G-60")
@pytest.mark.guarantee("G-32")
def test_a_secret_its_stand_in_and_the_secret_after_a_change_are_the_same() -> None:
    file = json.dumps({"text": f"the key is {SECRET}"}).encode() + b"\n" + b"more\n"
    mirror = seal(file, Known())
    assert SECRET.encode() not in mirror
    assert part(mirror, file)[0] is None
    assert part(mirror, mirror)[0] is None
    assert part(mirror, file.replace(SECRET.encode(), b"x" * len(SECRET)))[0] is None
    assert part(mirror, file.replace(b"more", b"less"))[0] == file.index(b"more")
