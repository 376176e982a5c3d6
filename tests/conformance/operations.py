"""The table at the end of docs/operations.md: every reason about which a person can do something. Made from the catalogue of reasons.

`python -m tests.conformance.operations` writes it.
"""

from __future__ import annotations

from pathlib import Path

from reconciler.api.catalogue import REASONS
from reconciler.api.waits import NOTHING

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"
MARK = "<!-- Made by `python -m tests.conformance.operations` from the catalogue of reasons; do not edit below. -->\n"


def table() -> str:
    """One line a reason: what it means and what to do."""
    reasons = sorted(reason for reason in REASONS.values() if reason.remedy not in (NOTHING, "Nothing."))
    rows = [f"| `{reason}` | {_cell(reason.meaning)} | {_cell(reason.remedy)} |" for reason in reasons]
    return "\n".join(["| reason | meaning | what to do |", "|---|---|---|", *rows]) + "\n"


def written(page: str) -> str:
    """The page with the table as it must be. Raises `ValueError` when the mark is missing."""
    head, mark, _ = page.partition(MARK)
    if not mark:
        raise ValueError(f"{PAGE.name} lacks the line {MARK.strip()!r}")
    return f"{head}{mark}\n{table()}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
