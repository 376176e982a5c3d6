"""What a terminal shows while things change."""

from __future__ import annotations

import asyncio

import pytest
from rich.console import Console

from reconciler.cli import live, output
from reconciler.core.keys import Key
from reconciler.engine.ports import StoredObject

WORDS = tuple(f"organ-{number}" for number in range(20))


def obj(kind: str, name: str, spec: dict[str, object], **labels: str) -> StoredObject:
    named = {f"fleet.vers.sh/{word}": value for word, value in labels.items()}
    return StoredObject(Key(kind, "default", name), "uid", 1, 1, 0.0, spec, labels=named)  # type: ignore[arg-type]


PROFILE = obj("BootProfile", "wide", {"source": {"image": "default"}, "organs": list(WORDS)})
TREE = obj(
    "VMTree",
    "prod",
    {
        "nodes": [
            {"name": "infra", "category": "Infra", "profileRef": {"name": "wide"}},
            {"name": "back", "category": "Agent", "parent": "infra", "profileRef": {"name": "wide"}, "lieutenant": {"role": "x"}},
        ]
    },
)
AGENT = obj("Lieutenant", "prod-back", {"role": "x", "profileRef": {"name": "wide"}}, tree="prod", node="back")
ALONE = obj("Lieutenant", "ada", {"role": "[red]x", "profileRef": {"name": "wide"}})
TASK = obj("Task", "one", {"lieutenantRef": {"name": "ada"}, "prompt": "x"})


def drawn(*objects: StoredObject, width: int = 80) -> list[str]:
    console = Console(record=True, width=width, force_terminal=False)
    console.print(live.picture(objects, "what comes now"))
    return console.export_text().splitlines()


def test_trees_are_drawn_with_lines_and_folded_at_the_width() -> None:
    lines = drawn(PROFILE, TREE, AGENT, ALONE, TASK)
    assert lines[0] == "what comes now"
    assert lines[1].startswith("vmtree/prod")
    assert lines[2].startswith("└── infra")
    assert any(line.startswith("    └── back") for line in lines)
    assert any(line.startswith("        └── lieutenant/prod-back") for line in lines)
    assert any(line.startswith("lieutenant/ada") for line in lines)
    assert max(map(len, lines)) <= 80
    assert all(word in " ".join(lines) for word in WORDS)


def test_without_a_tree_there_is_a_table() -> None:
    lines = drawn(ALONE, TASK)
    assert "OBJECT" in " ".join(lines)
    assert [word for word in ("lieutenant/ada", "task/one") if any(word in line for line in lines)] == ["lieutenant/ada", "task/one"]


async def drawn_on(console: Console, words: str) -> None:
    async with asyncio.timeout(30):
        while words not in console.export_text(clear=False):  # noqa: ASYNC110 - a terminal has no event
            await asyncio.sleep(0.005)


def test_it_stands_below_the_lines_and_follows_what_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(record=True, width=60, force_terminal=True)
    monkeypatch.setattr(output, "console", lambda: console)
    monkeypatch.setattr(live, "EVERY", 0.01)
    now, revision = [[ALONE]], [0]

    async def story() -> None:
        with live.below_the_lines(lambda: now[0], lambda: revision[0], lambda text: text):
            await drawn_on(console, "lieutenant/ada")
            now[0], revision[0] = [TREE, AGENT], 1
            console.print("a line")
            await drawn_on(console, "└── infra")

    asyncio.run(story())
    told = console.export_text()
    assert told.index("lieutenant/ada") < told.index("a line") < told.index("└── infra")
