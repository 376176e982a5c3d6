"""`python -m tests.mutants [ID...]` prints which scenario kills which mutant."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests.mutants.mutant import named
from tests.mutants.run import verdict
from tests.mutants.table import MUTANTS


def main() -> int:
    alive, wanted = 0, sys.argv[1:]
    for mutant in (mutant for mutant in MUTANTS if not wanted or mutant.id in wanted):
        with tempfile.TemporaryDirectory() as folder:
            killed = verdict(mutant, Path(folder))
        alive += not killed
        print(f"{'killed' if killed else 'ALIVE ':6}  {mutant.id:22} {mutant.promise:70} {named(mutant.killer)}: {killed[:80]}")
    print(f"{alive} alive")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main())
