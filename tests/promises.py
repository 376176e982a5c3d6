"""Two rules of this suite, as pytest hooks: in CI nothing is skipped, and every `guarantee` mark names a guarantee that exists.

At the end it says how many guarantees the run has proven: those with a marked test that ran, and of which none failed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import pytest

RELEASE = frozenset(
    f"G-{number:02}"
    for number in (
        1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 20, 21, 22, 23, 24, 25, 26, 28, 29, 30, 31, 32, 33,
        36, 37, 40, 41, 42, 43, 44, 45, 46, 47, 48, 49, 60, 61, 62, 63, 64, 65, 66, 67,
    )
)  # fmt: skip
"""What this release promises: each must have a marked test."""

KNOWN = frozenset(f"G-{number:02}" for number in (*range(1, 15), *range(20, 39), *range(40, 50), *range(60, 68)))
"""Every guarantee of docs/guarantees.md, also those of later releases."""

LIVE = "[live"
"""Part of a test's id: the platform's contract against the live platform, which needs a key. Without one these are skipped, and in CI,
where nothing is skipped, they are no part of the run."""

LIVE_KEY = "RECONCILER_CONTRACT_API_KEY"
PROPERTY = "guarantee"


@dataclass(slots=True)
class Tally:
    """What a run has shown so far. Lives in the process that prints the summary, also under xdist."""

    proven: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    skipped: dict[str, str] = field(default_factory=dict)

    def note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        """Count one report of a test's phase, or of a file that could not be collected."""
        if report.skipped and not hasattr(report, "wasxfail") and LIVE not in report.nodeid:
            self.skipped[report.nodeid] = _reason(report)
        if isinstance(report, pytest.TestReport):
            named = {str(value) for name, value in report.user_properties if name == PROPERTY}
            if report.failed:
                self.broken |= named
            elif report.passed and report.when == "call":
                self.proven |= named

    def summary(self) -> Iterator[str]:
        """Lines for people."""
        proven = self.proven - self.broken
        if proven or self.broken:
            promised = f"{len(proven & RELEASE)} of the {len(RELEASE)} of this release"
            yield f"guarantees: {len(proven)} of {len(KNOWN)} proven by this run, {promised}"
        if self.broken:
            yield f"guarantees broken: {', '.join(sorted(self.broken))}"


TALLY = pytest.StashKey[Tally]()


def guarantees_of(item: pytest.Item) -> Iterator[str]:
    for mark in item.iter_markers("guarantee"):
        yield from (str(one) for one in mark.args)


def refuse_skips(skipped: Iterable[str], environ: str | None) -> bool:
    """Whether these skips fail the run; `environ`: the value of CI."""
    return bool(environ) and any(True for _ in skipped)


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    return str(report.longrepr[2]) if isinstance(report.longrepr, tuple) else str(report.longrepr)


# --- hooks, imported by conftest.py -------------------------------------------------------------------------------------------


def pytest_configure(config: pytest.Config) -> None:
    tally = Tally()
    config.stash[TALLY] = tally
    config.pluginmanager.register(_Listener(tally), "tally")


class _Listener:
    """Hooks that are given a report and nothing else."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._tally.note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        self._tally.note(report)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Marks become properties of the reports, which alone reach the summary under xdist. Raises for an id that does not exist."""
    if os.environ.get("CI") and not os.environ.get(LIVE_KEY):
        config.hook.pytest_deselected(items=[item for item in items if LIVE in item.nodeid])
        items[:] = [item for item in items if LIVE not in item.nodeid]
    for item in items:
        for one in guarantees_of(item):
            if one not in KNOWN:
                raise pytest.UsageError(f"{item.nodeid}: there is no guarantee {one!r}; see KNOWN in tests/promises.py")
            item.user_properties.append((PROPERTY, one))


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    skipped = session.config.stash[TALLY].skipped
    if refuse_skips(skipped, os.environ.get("CI")) and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    tally = config.stash[TALLY]
    for line in tally.summary():
        terminalreporter.write_line(line)
    if refuse_skips(tally.skipped, os.environ.get("CI")):
        terminalreporter.write_line(f"{len(tally.skipped)} skipped, and CI is set: in CI nothing is skipped", red=True)
        for name, why in tally.skipped.items():
            terminalreporter.write_line(f"  {name}: {why}")
