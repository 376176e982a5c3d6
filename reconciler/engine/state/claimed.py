"""What a machine's claim says of an object that the store has lost."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.core.keys import Json, as_map
from reconciler.core.lieutenant.session import session_name
from reconciler.core.records import BootRecord, LieutenantRecord, SessionRecord, SlotRecord


@dataclass(frozen=True, slots=True)
class Claimed:
    """`uid`: which object it was; `vm_id`, `account`, `epoch`: its machine."""

    uid: str
    vm_id: str
    account: str
    epoch: int

    def record(self, spec: Json) -> LieutenantRecord:
        """The object with its machine, as if nothing had been lost. Its conversation is read from the machine, under the name that it has
        as declared."""
        declared = as_map(spec.get("session")).get("generation")
        generation = declared if isinstance(declared, int) else 1
        adopted = self.vm_id if as_map(spec.get("adopt")).get("vmId") == self.vm_id else ""
        return LieutenantRecord(
            slot=SlotRecord(vm_id=self.vm_id, account=self.account, epoch=self.epoch, adopted=adopted),
            boot=BootRecord(vm_id=self.vm_id),
            session=SessionRecord(name=session_name(self.uid, generation), generation=generation),
        )
