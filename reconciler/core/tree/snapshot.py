"""Everything a decision about one hierarchy may depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from reconciler.api.meta import Mode
from reconciler.api.status.lieutenant import PieceStatus
from reconciler.api.vmtree import VMTreeSpec
from reconciler.core.keys import Json, Key
from reconciler.core.spending.pool import Pool
from reconciler.core.tree.places import Place, Use
from reconciler.core.treerecords import TreeRecord

NOTHING_DECLARED = TreeRecord()


@dataclass(frozen=True, slots=True)
class Found:
    """The object under the name of a place. `ours`: this tree declares it; `same`: it is as the tree declares it; `confirmed`: the
    token by which its deletion was confirmed; `unknown`: whether it is ready can't be told; `outdated`: its machine is of another
    profile than declared, `replacing`: another one is made for it; `failed`: why the last one did not work; the rest as its status
    tells."""

    ours: bool
    same: bool = True
    deleting: bool = False
    confirmed: str = ""
    ready: bool = False
    unknown: bool = False
    stalled: bool = False
    reason: str = ""
    message: str = ""
    phase: str = ""
    vm_id: str = ""
    outdated: bool = False
    replacing: bool = False
    failed: str = ""
    organs: tuple[PieceStatus, ...] | None = None
    capabilities: tuple[PieceStatus, ...] | None = None


@dataclass(frozen=True, slots=True)
class Other:
    """What a place had before its category changed, while that is still there. `made`: it has a machine or asked for one, or is on this
    host; `working`: a task is with its agent, or a turn is on; `both_run`: its machine and the one in its place; `in_the_way`: there is
    no room for both, and it is declared that it goes first then."""

    found: Found
    made: bool = True
    working: bool = False
    protected: bool = False
    mode: Mode = Mode.RUNNING
    both_run: bool = False
    in_the_way: bool = False


@dataclass(frozen=True, slots=True)
class TreeSnapshot:
    """`places`: those that are to be there, roots first; `digests`: of what is declared for each; `found`: by place, for those and for
    all that are remembered; `use`: of the same; `confirmed`: the token by which a person confirmed what is refused otherwise;
    `unsupported`: fields that protect and are not acted on; `declared`: the spec as its document has it; `paused`: a person holds its
    rollout; `pool`: its budget with what was spent, None where it has none;
    `invalid`: by place, why what would be declared for it is not valid; `other`: by place, what it had before its category changed;
    `held`: by place whose category changed, why nothing is begun about that yet."""

    key: Key
    spec: VMTreeSpec
    record: TreeRecord = NOTHING_DECLARED
    places: tuple[Place, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)
    found: Mapping[str, Found] = field(default_factory=dict)
    use: Mapping[str, Use] = field(default_factory=dict)
    deleting: bool = False
    confirmed: str = ""
    unsupported: tuple[str, ...] = ()
    declared: Json = field(default_factory=dict)
    paused: bool = False
    pool: Pool | None = None
    invalid: Mapping[str, str] = field(default_factory=dict)
    other: Mapping[str, Other] = field(default_factory=dict)
    held: Mapping[str, str] = field(default_factory=dict)
    now: float = 0.0

    def objects(self, place: str) -> list[Found]:
        """What this tree has declared for a place, as far as it is there: one object, or two while its category changes."""
        found, other = self.found.get(place), self.other.get(place)
        return [one for one in (found, other.found if other is not None else None) if one is not None and one.ours]
