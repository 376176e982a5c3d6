"""Who may use what others made, or what carries no mark: flags, variables, a file, and what holds without any (G-07)."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.app import sharing_of
from reconciler.config import load
from reconciler.core.snapshot.origin import Sharing
from reconciler.errors import UsageError


@pytest.mark.guarantee("G-07")
def test_in_a_cluster_nobody_may_use_what_carries_no_mark_and_in_a_folder_its_owner_may() -> None:
    nothing_said = load({}, {})
    assert sharing_of(nothing_said, cluster=True) == Sharing(frozenset(), frozenset())
    assert sharing_of(nothing_said, cluster=False) == Sharing(frozenset({"*"}), frozenset())
    nobody = load({"adopt-unowned": ""}, {})
    assert sharing_of(nobody, cluster=False).unowned == frozenset()


def test_a_flag_beats_the_variable_which_beats_the_file(tmp_path: Path) -> None:
    file, told = tmp_path / "settings.toml", {"RECONCILER_ADOPT_UNOWNED": "team-b", "RECONCILER_SHARE": "*=team-b"}
    file.write_text('adopt-unowned = "team-c"\nshare = "team-c=*"\n')
    assert sharing_of(load({}, {}, file), cluster=True) == Sharing(frozenset({"team-c"}), frozenset({("team-c", "*")}))
    assert sharing_of(load({}, told, file), cluster=True) == Sharing(frozenset({"team-b"}), frozenset({("*", "team-b")}))
    flags = {"adopt-unowned": "team-a, team-b", "share": "team-a=team-b, team-b=team-a"}
    both = frozenset({("team-a", "team-b"), ("team-b", "team-a")})
    assert sharing_of(load(flags, told, file), cluster=True) == Sharing(frozenset({"team-a", "team-b"}), both)


@pytest.mark.parametrize(
    ("name", "value", "word"),
    [
        ("adopt-unowned", "Team", "can't be a namespace"),
        ("adopt-unowned", "a b", "can't be a namespace"),
        ("adopt-unowned", True, "names of namespaces"),
        ("share", "team-a", "who shares with whom"),
        ("share", "team-a=", "can't be a namespace"),
        ("share", "=team-b", "can't be a namespace"),
        ("share", "a=b=c", "can't be a namespace"),
        ("share", 7, "who shares with whom"),
    ],
)
def test_what_names_no_namespace_is_refused_by_the_name_of_its_flag(name: str, value: str | bool | int, word: str) -> None:
    with pytest.raises(UsageError, match=word) as told:
        load({name: value}, {})
    assert f"--{name}" in str(told.value)
