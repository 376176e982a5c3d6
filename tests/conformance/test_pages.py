"""What the pages and the comments refer to exists: links, sections of the design pages, promises, and pages named in the code."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest

from tests.conformance import guarantees
from tests.conformance.test_project import ROOT, tracked
from tests.promises import KNOWN

DESIGN = ROOT / "docs" / "design"
PAGES = sorted(path for path in tracked() if path.suffix == ".md")
FACTS = ("vers-api", "pi-rpc", "field-anchors", "reliability-performance")
"""Pages that are cited by their own name; every other page below docs/design is cited as `design`."""

SECTION = re.compile(r"^#{1,4} (\d+(?:\.\d+)*)\.? ", re.MULTILINE)
CITED = re.compile(r"(?:(?P<page>[a-z][a-z-]*)(?:\.md)?[\s#*/]+)?§(?P<section>\d+(?:\.\d+)*)")
PARAGRAPH = re.compile(r"\n(?=\s*\n|\s*[-*|] )")
LINK = re.compile(r"(?<!!)\[(?:[^\]\[]|\[[^\]]*\])*\]\(([^)\s]+)\)")
NAMED = re.compile(r"(?<![\w/.-])((?:docs/)?(?:design/)?[a-z][a-z-]*\.md)\b")
PATH = re.compile(r"`((?:reconciler|tests|docs|deploy|examples|specs|crds|benchmarks|hack)/[a-z0-9_./-]+)`")
NOT_OURS = {"notes/release.md", "report.md", "role.md"}
"""Files that agents write in tests and demos."""


def texts() -> Iterator[tuple[Path, str]]:
    """Every tracked file in which somebody may cite a page."""
    for path in tracked():
        if path.suffix in (".py", ".mjs", ".md", ".yaml", ".toml", ".sh") or path.name in ("Makefile", "Containerfile", "run"):
            yield path, path.read_text("utf-8")


@cache
def sections(page: str) -> frozenset[str]:
    """The numbers of the sections of a page by its cited name; `design` is all pages that are not cited by their own."""
    files = [DESIGN / f"{page}.md"] if page in FACTS else [path for path in DESIGN.glob("*.md") if path.stem not in FACTS]
    return frozenset(number for file in files for number in SECTION.findall(file.read_text("utf-8")))


def cited(path: Path, text: str) -> Iterator[tuple[str, str]]:
    """(page, section) for each section sign. One without a page is of the page named before it in the same paragraph or, in a design
    page, of that page itself."""
    own = "" if path.parent != DESIGN else path.stem if path.stem in FACTS else "design"
    for paragraph in PARAGRAPH.split(text):
        page = own
        for match in CITED.finditer(paragraph):
            page = match["page"] if match["page"] in (*FACTS, "design") else page
            yield page, match["section"]


def slug(heading: str) -> str:
    """The anchor that a forge gives to a heading."""
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading.strip()).replace("`", "").replace("*", "")
    return re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")


@cache
def anchors(page: Path) -> frozenset[str]:
    body = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    seen: dict[str, int] = {}
    found = set()
    for heading in re.findall(r"^#{1,6} (.+)$", body, re.MULTILINE):
        name = slug(heading)
        found.add(f"{name}-{seen[name]}" if name in seen else name)
        seen[name] = seen.get(name, 0) + 1
    return frozenset(found)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_and_a_heading(page: Path) -> None:
    wrong = []
    body = re.sub(r"^```.*?^```|`[^`\n]*`", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for link in LINK.findall(body):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            wrong.append(link)
    assert wrong == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_that_a_page_names_exists(page: Path) -> None:
    assert [name for name in PATH.findall(page.read_text("utf-8")) if not (ROOT / name).exists()] == []


def test_every_cited_section_exists() -> None:
    wrong = []
    for path, text in texts():
        for page, section in cited(path, text):
            if not page or section not in sections(page):
                wrong.append(f"{path.relative_to(ROOT)}: {page or 'no page named'} §{section}")
    assert wrong == []


def test_a_section_is_in_one_page_only() -> None:
    """Otherwise `design §5.2` would be ambiguous."""
    numbers = [number for path in DESIGN.glob("*.md") if path.stem not in FACTS for number in SECTION.findall(path.read_text("utf-8"))]
    assert sorted(numbers) == sorted(set(numbers))


def test_every_page_that_the_code_names_exists() -> None:
    wrong = []
    for path, text in texts():
        if path.suffix not in (".py", ".mjs") or path.name == Path(__file__).name:
            continue
        for name in NAMED.findall(text):
            places = (ROOT / name, ROOT / "docs" / name, DESIGN / name)
            if name not in NOT_OURS and not any(place.exists() for place in places):
                wrong.append(f"{path.relative_to(ROOT)}: {name}")
    assert wrong == []


def test_the_page_of_promises_has_every_one() -> None:
    page = guarantees.PAGE.read_text("utf-8")
    assert guarantees.promised(page) == sorted(KNOWN)
    assert page == guarantees.written(page), "run `python -m tests.conformance.guarantees`"


def test_every_cited_promise_exists() -> None:
    wrong = {
        f"{path.relative_to(ROOT)}: {name}"
        for path, text in texts()
        if path.name != "test_promises.py"
        for name in re.findall(r"\bG-\d\d\b", text)
        if name not in KNOWN
    }
    assert wrong == set()


def test_the_command_line_page_lists_a_command_once_and_its_tables_stand_apart() -> None:
    """Above what is made from the program: two rows of one command would contradict each other sooner or later."""
    text = (ROOT / "docs" / "cli.md").read_text("utf-8").partition("<!-- Made by")[0]
    listed = re.findall(r"^\| (`.+?`)(?:, `.+?`)* \|", text, re.MULTILINE)
    assert len(listed) > 30
    assert sorted({one for one in listed if listed.count(one) > 1}) == []
    lines = text.split("\n")
    glued = [line for before, line in pairwise(lines) if before and (line.startswith("#") or (line[:1] == "|" != before[:1]))]
    assert glued == [], "a heading or a table follows an empty line"
