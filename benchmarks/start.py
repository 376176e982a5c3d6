"""What a command costs before it does anything. `python -m benchmarks.start [--quick] [--runs N]`

CPU seconds (user and system) of whole processes, each started in turn. Floors, measured in the same run: an interpreter that does nothing,
and one that imports the library of the command line. The store has one lieutenant; bytecode is cached, as after a first run.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from benchmarks.common import Goal, Spread, interleave, judge, table

TYPER = 'python -c "import typer"'
LIMIT = 0.35
"""CPU seconds that a command may take, or three times the import of Typer where that is more."""

LIEUTENANT = """
apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: api}
spec: {role: You keep the API, profileRef: {name: pi-base}}
"""
JUDGED: Mapping[str, Sequence[str]] = {
    "--help": ("--help",),
    "get --help": ("get", "--help"),
    "version": ("version",),
    "get lieutenant": ("get", "lieutenant"),
    "validate": ("validate", "lt.yaml"),
    "completion bash": ("completion", "bash"),
}
BESIDE: Mapping[str, Sequence[str]] = {
    "describe": ("describe", "lieutenant", "api"),
    "events": ("events",),
    "apply": ("apply", "-f", "lt.yaml"),
}
"""Told, not judged."""


def cpu(command: Sequence[str], env: Mapping[str, str], folder: Path) -> float:
    """CPU seconds of one process and what it started, until its end."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, env=env, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def cases(folder: Path) -> dict[str, Callable[[], float]]:
    """Every command and floor, run once so that its bytecode is there."""
    (folder / "lt.yaml").write_text(LIEUTENANT)
    bare = {name: value for name, value in os.environ.items() if name not in ("PYTHONDONTWRITEBYTECODE", "RECONCILER_STORE")}
    env = {**bare, "RECONCILER_STATE": str(folder / "state"), "PYTHONPYCACHEPREFIX": str(folder / "bytecode")}
    completing = {**env, "_RECONCILER_COMPLETE": "complete_bash", "COMP_WORDS": "reconciler va", "COMP_CWORD": "1"}
    program = (sys.executable, "-m", "reconciler")
    subprocess.run([*program, "apply", "-f", "lt.yaml"], env=env, cwd=folder, stdout=subprocess.DEVNULL, check=True)

    def case(command: Sequence[str], seen: Mapping[str, str] = env) -> Callable[[], float]:
        cpu(command, seen, folder)
        return lambda: cpu(command, seen, folder)

    return {
        "python -c pass": case((sys.executable, "-c", "pass")),
        TYPER: case((sys.executable, "-c", "import typer")),
        **{name: case((*program, *words)) for name, words in JUDGED.items()},
        "(completing a name)": case(program, completing),
        **{name: case((*program, *words)) for name, words in BESIDE.items()},
    }


def main() -> int:
    """Measure, print, and return 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--quick", action="store_true", help="few runs: a smoke test, not a measurement")
    parser.add_argument("--runs", type=int, default=9, help="interleaved runs of each (default 9)")
    arguments = parser.parse_args()
    runs = 3 if arguments.quick else max(arguments.runs, 1)
    with tempfile.TemporaryDirectory() as folder:
        taken = {name: Spread.of(values) for name, values in interleave(cases(Path(folder)), runs).items()}
    typer = taken[TYPER].median
    rows = [(name, one.median, one.low, one.high, one.median / typer) for name, one in taken.items()]
    table(f"CPU seconds of a command, {runs} runs", ("", "median", "min", "max", "÷ typer"), rows)
    limit = max(LIMIT, 3 * typer)
    judged = (*JUDGED, "(completing a name)")
    return judge([Goal(f"start of {name}, CPU s", taken[name].median, limit, 2 * typer, at_least=False) for name in judged])


if __name__ == "__main__":
    raise SystemExit(main())
