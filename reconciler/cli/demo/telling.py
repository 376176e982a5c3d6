"""How a demonstration is shown: a live table on a terminal, plain lines when piped, nothing but JSON at the end with `-o json`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

from rich.console import Group
from rich.live import Live

from reconciler.cli import names, output
from reconciler.cli.live import KINDS, picture
from reconciler.engine.ports import Event, StoredObject
from reconciler.visible import one_line

_SHOWN_EVENTS = 12


class Item(Protocol):
    @property
    def obj(self) -> StoredObject: ...


class Telling:
    """Takes what happens and shows it. `live`: a table that follows; `quiet`: results only (JSON goes to stdout alone)."""

    def __init__(self, live: bool, quiet: bool) -> None:
        self._quiet = quiet
        self._events: deque[str] = deque(maxlen=_SHOWN_EVENTS)
        self._chapter = ""
        self._began = time.monotonic()
        self._console = output.console(stderr=quiet)
        self._live = Live(console=self._console, auto_refresh=False, transient=True) if live and not quiet else None

    def __enter__(self) -> Telling:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()

    def line(self, text: str) -> None:
        """One line that stays."""
        if self._live is not None:
            self._live.console.print(output.styled(text))
        else:
            (output.say if self._quiet else output.out)(text)

    def chapter(self, title: str) -> None:
        """What comes now."""
        self._chapter = title
        self.line(f"\n== {title}")

    def event(self, event: Event) -> None:
        warning = "! " if event.type == "Warning" else ""
        text = f"{datetime.fromtimestamp(event.at):%H:%M:%S} {names.short(event.key)}  {warning}{event.reason}  {one_line(event.message)}"
        if self._live is not None:
            self._events.append(text.rstrip())
        else:
            self.line(text.rstrip())

    def platform(self, message: str) -> None:
        self.line(f"platform: {one_line(message)}; waiting" if message else "platform: answers again")

    def refresh(self, of_kind: Callable[[str], Sequence[Item]]) -> None:
        """Show the objects as they are now."""
        if self._live is None:
            return
        objects = [item.obj for kind in KINDS for item in of_kind(kind)]
        log = output.styled("\n".join(self._events))
        self._live.update(
            Group(picture(objects, self._chapter), log, output.styled(f"{time.monotonic() - self._began:.1f} s")), refresh=True
        )
