"""In which order the workers of one run take what is collected: what lasts long or waits much comes first, so that in the end no worker is
left alone with it, and no processor idle."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Order(), "order")


class _Order:
    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Of what is left when others have chosen."""
        longest_first(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


def longest_first(items: list[pytest.Item], workers: int) -> None:
    """Of several workers each begins with its part of the files that allow their tests more time than usual (`timeout`), the longest ones
    first, and two of three with what waits for a cluster, while the others compute. A file stays together, for its tests share what they
    need. The scheduler gives each worker one part of the list, and who has nothing left takes from the ends of others' parts."""
    if workers == 1:
        return
    files: dict[Path, list[pytest.Item]] = {}
    for item in items:
        files.setdefault(item.path, []).append(item)
    allowed = {path: max(map(seconds_of, members)) for path, members in files.items()}
    parts: list[list[pytest.Item]] = [[] for _ in range(workers)]
    for number, path in enumerate(sorted((path for path in files if allowed[path]), key=lambda path: -allowed[path])):
        parts[number % workers] += files.pop(path)
    for path in [path for path, members in files.items() if any(map(waits, members))]:
        min(parts[: max(1, workers * 2 // 3)], key=len).extend(files.pop(path))
    others = [item for members in files.values() for item in members]
    for left, part in zip(range(workers, 0, -1), parts, strict=True):
        room = max(0, (len(others) + sum(map(len, parts[-left:]))) // left - len(part))
        part += others[:room]
        del others[:room]
    items[:] = [item for part in parts for item in part]


def seconds_of(item: pytest.Item) -> float:
    """What the test itself asks for; 0: as usual."""
    asked = item.get_closest_marker("timeout")
    return float(asked.args[0]) if asked is not None and asked.args else 0.0


def waits(item: pytest.Item) -> bool:
    """For a server that each worker starts for itself, and for what it is told."""
    return any("kube" in mark.args for mark in item.iter_markers("real"))
