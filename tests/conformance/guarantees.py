"""The lines "Tests:" of docs/guarantees.md: which test files are marked with each promise, read from the sources.

`python -m tests.conformance.guarantees` writes them; with `--check` it only says whether they are up to date (exit code 1 when not).
"""

from __future__ import annotations

import ast
import re
import sys
import textwrap
from collections.abc import Mapping
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "guarantees.md"
PROMISE = re.compile(r"^### (G-\d\d): .+$", re.MULTILINE)
PLANNED = "Tests: none yet; planned."


@cache
def marked() -> Mapping[str, set[str]]:
    """Guarantee → the test files with a mark of it, also those that this machine could not run."""
    found: dict[str, set[str]] = {}
    for path in sorted((ROOT / "tests").rglob("*.py")):
        text = path.read_text("utf-8")
        for node in ast.walk(ast.parse(text)) if "guarantee" in text else ():
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "guarantee":
                for argument in node.args:
                    if isinstance(argument, ast.Constant):
                        found.setdefault(str(argument.value), set()).add(path.relative_to(ROOT).as_posix())
    return found


def promised(page: str) -> list[str]:
    """Every guarantee of the page, in its order."""
    return PROMISE.findall(page)


def written(page: str) -> str:
    """The page with its lines "Tests:" as they must be. Raises `ValueError` when a promise lacks one."""
    proven = marked()
    parts = re.split(r"^(?=### G-|## )", page, flags=re.MULTILINE)
    return "".join(_with_tests(part, proven) if part.startswith("### G-") else part for part in parts)


def _with_tests(section: str, proven: Mapping[str, set[str]]) -> str:
    head = PROMISE.match(section)
    text, found, _ = section.partition("\nTests:")
    if head is None or not found:
        raise ValueError(f"{PAGE.name}: a promise is a heading `### G-nn: …`, its text and a line `Tests:`, not {section[:60]!r}")
    files = sorted(proven.get(head.group(1), ()))
    line = f"Tests: {', '.join(f'`{name}`' for name in files)}" if files else PLANNED
    return f"{text}\n{textwrap.fill(line, 116, break_long_words=False, break_on_hyphens=False)}\n\n"


def main(arguments: list[str]) -> int:
    page = PAGE.read_text("utf-8")
    wanted = written(page)
    if "--check" in arguments:
        if page != wanted:
            print(f"{PAGE.relative_to(ROOT)} is out of date: run `python -m tests.conformance.guarantees`", file=sys.stderr)
        return int(page != wanted)
    PAGE.write_text(wanted, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
