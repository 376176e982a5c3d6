"""Before several workers begin, what they are to import is compiled once, by as many processes as there are processors. All begin with the
same files at the same time, so in a new checkout each of them would compile everything: six seconds of a processor for every worker."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import py_compile
import sys
from collections.abc import Iterable
from fnmatch import fnmatch
from pathlib import Path

import pytest
from _pytest.assertion import rewrite
from hypothesis import strategies

ROOT = Path(__file__).parents[1]
COMPILED = ("reconciler", "tests")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Compiled(), "compiled")


class _Compiled:
    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self, config: pytest.Config) -> None:
        """In the process that starts the workers, which has no threads yet."""
        if sys.dont_write_bytecode:
            return
        stale = [path for path in sources(ROOT) if not is_compiled(config, path)]
        stale.sort(key=lambda path: path.stat().st_size)
        fork, processes = multiprocessing.get_context("fork"), len(os.sched_getaffinity(0))
        shares = [fork.Process(target=compile_all, args=(config, part)) for n in range(processes) if (part := stale[n::processes])]
        shares.append(fork.Process(target=_prepare_hypothesis))
        for share in shares:
            share.start()
        for share in shares:
            share.join()


def _prepare_hypothesis() -> None:
    """Which characters there are, Hypothesis finds out in a second, and keeps it beside the examples."""
    strategies.text().validate()


def sources(root: Path) -> list[Path]:
    """What is ours, in the same order everywhere."""
    return sorted(path for name in COMPILED for path in (root / name).rglob("*.py"))


def compile_all(config: pytest.Config, paths: Iterable[Path]) -> None:
    """Compile these files. One with an error is left to whoever imports it, who can say so."""
    for path in paths:
        try:
            if is_rewritten(config, path):
                _rewrite(config, path)
            else:
                py_compile.compile(str(path), doraise=True)
        except (OSError, SyntaxError, ValueError, py_compile.PyCompileError):
            continue


def is_compiled(config: pytest.Config, path: Path) -> bool:
    """Whether who imports the file finds it compiled. Pytest compares the source with a hash of it, Python its time and size."""
    try:
        with kept_at(config, path).open("rb") as kept:
            begin = kept.read(16)
        source = path.stat()
        if is_rewritten(config, path):
            return begin[8:] == importlib.util.source_hash(path.read_bytes())
        return begin[8:] == b"".join((number & 0xFFFFFFFF).to_bytes(4, "little") for number in (int(source.st_mtime), source.st_size))
    except OSError:
        return False


def is_rewritten(config: pytest.Config, path: Path) -> bool:
    """Whether pytest compiles it with assertions that can explain themselves, into a file of its own."""
    return path.name == "conftest.py" or any(fnmatch(path.name, pattern) for pattern in config.getini("python_files"))


def kept_at(config: pytest.Config, path: Path) -> Path:
    if is_rewritten(config, path):
        return rewrite.get_cache_dir(path) / (path.stem + rewrite.PYC_TAIL)
    return Path(importlib.util.cache_from_source(str(path)))


def _rewrite(config: pytest.Config, path: Path) -> None:
    """As pytest's own hook does when the file is imported, which it has no way to ask for alone."""
    kept = kept_at(config, path)
    kept.parent.mkdir(parents=True, exist_ok=True)
    source, code = rewrite._rewrite_test(path, config)
    rewrite._write_pyc(config.stash[rewrite.assertstate_key], code, source, kept)
