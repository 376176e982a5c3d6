"""What a mutant is, and how it is put in place of what it breaks."""

from __future__ import annotations

import inspect
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from reconciler.core.chain import Chain
from tests.faults.harness import Run

PATIENCE = 150.0
"""Virtual seconds until a mutated run counts as stuck."""

Scenario = Callable[[Path], object]


@dataclass(frozen=True)
class Mutant:
    """`owner.name`, with `old` (found exactly once in its source) replaced by `new`, breaks `promise`."""

    id: str
    promise: str
    owner: ModuleType | type
    name: str
    old: str
    new: str
    killer: Scenario

    def apply(self, patch: pytest.MonkeyPatch) -> None:
        """Put the broken form in place, wherever the original is used by name and in the chains of policies that hold it."""
        original = getattr(self.owner, self.name)
        source = textwrap.dedent(inspect.getsource(original))
        assert source.count(self.old) == 1, f"{self.id}: {self.old!r} is {source.count(self.old)} times in {self.name}"
        module = sys.modules[original.__module__]
        made: dict[str, object] = {}
        header = "from __future__ import annotations\n"
        exec(compile(header + source.replace(self.old, self.new), f"<mutant {self.id}>", "exec"), module.__dict__, made)
        broken = made[self.name]
        patch.setattr(self.owner, self.name, broken)
        for name, user in sorted(sys.modules.items()):
            if name.startswith("reconciler.") and getattr(user, self.name, None) is original:
                patch.setattr(user, self.name, broken)
            for attribute, chain in list(vars(user).items()) if name.startswith("reconciler.core.") else ():
                if isinstance(chain, Chain) and original in chain.leaves():
                    patch.setattr(user, attribute, _replaced(chain, original, broken))
        patch.setattr(Run, "__init__", _impatient(Run.__init__))


def _replaced(chain: Chain[Any], original: object, broken: object) -> Chain[Any]:
    """The chain with one policy, here or in a chain within it, replaced."""

    def then(one: Any) -> Any:
        return _replaced(one, original, broken) if isinstance(one, Chain) else broken if one is original else one

    return replace(chain, policies=tuple(then(one) for one in chain.policies))


def _impatient(begin: Callable[..., None]) -> Callable[..., None]:
    def init(self: Run, *args: object, **more: object) -> None:
        begin(self, *args, **more)
        self.deadline = PATIENCE

    return init


def named(scenario: Scenario) -> str:
    return getattr(scenario, "__name__", str(scenario)).removeprefix("test_")
