"""Fixtures that more than one part's tests use, and the rules that hold for the whole suite."""

from __future__ import annotations

import gc
import signal
from collections.abc import Generator

import pytest

from tests import collecting, compiling, costs, effort, promises, scratch
from tests.effort import pytest_report_header
from tests.postgres import postgres_server, postgres_url
from tests.promises import pytest_collection_modifyitems, pytest_sessionfinish

__all__ = [
    "postgres_server",
    "postgres_url",
    "pytest_collection_modifyitems",
    "pytest_report_header",
    "pytest_sessionfinish",
]

effort.register_profiles()  # before Hypothesis' own plugin reads which one the command line names


def pytest_configure(config: pytest.Config) -> None:
    scratch.use_memory()
    effort.choose_seed()
    promises.pytest_configure(config)
    costs.pytest_configure(config)
    collecting.pytest_configure(config)
    compiling.pytest_configure(config)


@pytest.fixture(scope="session", autouse=True)
def _nothing_ignored_by_what_we_start() -> None:
    """A shell starts what is to run in the background with two signals ignored, `nohup` a third one, and so begin all processes of it.
    Those that we start would have to undo that one by one, in a copy of this large process each. What has a handler, if one that does
    nothing, begins anew in them."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is collected stays to the end: looking for garbage in it costs each worker a fifth of the time that collecting takes, and more
    later."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    effort.told_at_the_end(terminalreporter)
    promises.pytest_terminal_summary(terminalreporter, config)
