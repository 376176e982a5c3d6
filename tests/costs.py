"""What each suite costs in this run, with `COSTS=1`: seconds of processors, which depend less on what else the machine does than a
clock's. Counted are the process of the tests and the processes it has waited for; servers and agents that outlive a test are not."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator, Iterator

import pytest

PROPERTY = "processor seconds"
WANTED = bool(os.environ.get("COSTS"))


def spent() -> float:
    """User and system time so far."""
    return sum(os.times()[:4])


def suite_of(nodeid: str) -> str:
    """The directory below `tests`; '' for what stands beside the directories."""
    parts = nodeid.partition("::")[0].split("/")
    return parts[1] if len(parts) > 2 else ""


class Meter:
    """Hooks: in the process of a test it notes the cost, in the process that prints the summary it adds up."""

    def __init__(self) -> None:
        self._begun = 0.0
        self._tests: Counter[str] = Counter()
        self._seconds: Counter[str] = Counter()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self) -> Generator[None, object, object]:
        self._begun = spent()
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if call.when == "teardown":
            report.user_properties.append((PROPERTY, spent() - self._begun))
        return report

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, seconds in report.user_properties:
            if name == PROPERTY and isinstance(seconds, float):
                suite = suite_of(report.nodeid)
                self._tests[suite] += 1
                self._seconds[suite] += seconds

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        for line in self.table():
            terminalreporter.write_line(line)

    def table(self) -> Iterator[str]:
        """One line a suite, what costs most first."""
        yield f"{'suite':12} {'tests':>6} {'seconds of processors':>22}"
        for suite, seconds in self._seconds.most_common():
            yield f"{suite:12} {self._tests[suite]:6} {seconds:22.1f}"
        yield f"{'all':12} {self._tests.total():6} {sum(self._seconds.values()):22.1f}"


def pytest_configure(config: pytest.Config) -> None:
    if WANTED:
        config.pluginmanager.register(Meter(), "meter")
