"""The rules that an agent's tool calls are checked against, from what is declared."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.api.bootprofile import BootProfileSpec
from reconciler.api.lieutenant import LieutenantSpec
from reconciler.api.parsing import load_spec
from reconciler.api.stock import stock_profiles
from reconciler.api.task import TaskSpec
from reconciler.core.governance.permissions.declared import for_task
from reconciler.core.governance.permissions.rules import Rules
from reconciler.core.keys import boot_profile
from reconciler.core.profile.rendering import Lookup, render
from reconciler.core.snapshot.rendered import Unresolved
from reconciler.engine.ports import StoredObject
from reconciler.errors import InvalidSpec, Refused

PROFILE = boot_profile("", "").kind


def looked_up(profiles: Iterable[StoredObject]) -> Lookup:
    """Declared profiles by name, else the stock ones. What it returns raises `InvalidSpec`."""
    declared = {obj.key.name: obj for obj in profiles}

    def profile(name: str) -> BootProfileSpec | None:
        if name not in declared:
            stock = stock_profiles().get(name)
            return stock.spec if stock is not None else None
        spec = load_spec(PROFILE, declared[name].spec, tolerant=True)
        return spec if isinstance(spec, BootProfileSpec) else None

    return profile


def rules_of(lieutenant: StoredObject, profiles: Iterable[StoredObject], task: StoredObject | None = None) -> Rules | None:
    """Those of profile, lieutenant and task; None when nothing is checked. Raises `Refused` when they can't be told."""
    profile = looked_up(profiles)
    try:
        spec = load_spec(lieutenant.key.kind, lieutenant.spec, tolerant=True)
        assert isinstance(spec, LieutenantSpec)
        made = render(lieutenant.key.name, spec, profile)
    except InvalidSpec as error:
        raise Refused("its rules can't be told", str(lieutenant.key), str(error)) from error
    if isinstance(made, Unresolved):
        raise Refused("its rules can't be told", str(lieutenant.key), made.message)
    work = load_spec(task.key.kind, task.spec, tolerant=True) if task is not None else None
    return for_task(made.rules, work.permissions if isinstance(work, TaskSpec) else None, made.work_dir)
