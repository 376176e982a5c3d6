"""What a terminal shows while things change: a table of all objects, or, where there are trees, the picture that `tree` draws."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table

from reconciler.cli import names, output
from reconciler.cli.tree import grown
from reconciler.core.tree.places import MACHINE
from reconciler.engine.ports import StoredObject
from reconciler.views.documents import text_at
from reconciler.views.tree import Forest

KINDS = ("VMTree", MACHINE, "Lieutenant", "Task")
EVERY = 0.5
"""Seconds between two pictures, at least."""
_READY = '.conditions[?(@.type=="Ready")]'


def picture(objects: Sequence[StoredObject], title: str = "", clean: Callable[[str], str] = str) -> RenderableType:
    """All of them as they are now, folded to the width of the console. `clean`: takes secrets out of a text."""
    if any(obj.key.kind == "VMTree" for obj in objects):
        heading = [output.styled(title, "italic")] if title else []
        return Group(*heading, *(grown(branch, clean) for branch in Forest(objects).whole()))
    table = Table("OBJECT", "READY", "REASON", "PHASE", "VM", title=title or None, title_justify="left", expand=False)
    for obj in sorted(objects, key=lambda obj: (KINDS.index(obj.key.kind), obj.key) if obj.key.kind in KINDS else (len(KINDS), obj.key)):
        if obj.key.kind in KINDS:
            cells = [text_at(obj.status, path) for path in (f"{_READY}.status", f"{_READY}.reason", ".phase", ".vm.id")]
            table.add_row(names.short(obj.key), *(output.styled(clean(cell)) for cell in cells))
    return table


@contextmanager
def below_the_lines(
    objects: Callable[[], Sequence[StoredObject]], revision: Callable[[], int], clean: Callable[[str], str]
) -> Iterator[None]:
    """While this lasts, the picture stands below what is printed, and is drawn again when something changed; at the end it is gone."""
    with Live(console=output.console(), auto_refresh=False, transient=True) as live:

        async def follow() -> None:
            seen = -1
            while True:
                if revision() != seen:
                    seen = revision()
                    live.update(picture(objects(), clean=clean), refresh=True)
                await asyncio.sleep(EVERY)

        following = asyncio.create_task(follow(), name="picture")
        try:
            yield
        finally:
            following.cancel()
