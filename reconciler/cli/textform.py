"""How a text file is written, beside what it says: its byte order mark and its line ends. Who changes a file keeps them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat

BOM = "\ufeff"


@dataclass(frozen=True, slots=True)
class TextForm:
    """`lines` as they were, `ends`: the end of each ('' where the last has none)."""

    bom: bool
    lines: Sequence[str]
    ends: Sequence[str]

    def write(self, text: str) -> str:
        """A changed text in this form: a line that was there keeps its end, a new one has the end that most lines have, and the last one
        has an end if the last one had."""
        lines = text.removesuffix("\n").split("\n") if self.ends[-1] or text.endswith("\n") else text.split("\n")
        same = zip(self.lines, lines, strict=False)
        before = next((n for n, (old, new) in enumerate(same) if old != new), min(len(self.lines), len(lines)))
        room = min(len(self.lines), len(lines)) - before
        behind = zip(reversed(self.lines), reversed(lines), strict=False)
        after = next((n for n, (old, new) in enumerate(behind) if old != new or n >= room), room)
        ends = [*self._ends(before, len(lines) - after, len(self.ends) - after), *self.ends[len(self.ends) - after :]]
        ends[-1] = ends[-1] if self.ends[-1] else ""
        return (BOM if self.bom else "") + "".join(chain.from_iterable(zip(lines, ends, strict=True)))

    def _ends(self, first: int, last: int, old_last: int) -> Iterator[str]:
        """The ends of the lines before `last`; those from `first` on are new, and stand for the old ones before `old_last`."""
        yield from self.ends[:first]
        usual = Counter(end for end in self.ends if end).most_common(1)
        own = self.ends[first:old_last] if last - first == old_last - first else repeat(usual[0][0] if usual else "\n")
        yield from (end or (usual[0][0] if usual else "\n") for _, end in zip(range(last - first), own, strict=False))


def read(text: str) -> tuple[str, TextForm]:
    """A text with plain line ends and without a byte order mark, and the form that it had."""
    bom = text.startswith(BOM)
    lines, ends = _split(text.removeprefix(BOM))
    return "".join(line + ("\n" if end else "") for line, end in zip(lines, ends, strict=True)), TextForm(bom, lines, ends)


def _split(text: str) -> tuple[list[str], list[str]]:
    """Lines and their ends. Only these two ends are known: others are part of the line, as they are to who counts lines elsewhere."""
    lines, ends = [], []
    for piece in text.split("\n"):
        lines.append(piece.removesuffix("\r"))
        ends.append("\r\n" if piece.endswith("\r") else "\n")
    if text.endswith("\n"):
        lines.pop(), ends.pop()
    else:
        lines[-1], ends[-1] = text.rpartition("\n")[2], ""
    return lines or [""], ends or [""]
