"""Taking over a VM that exists already: `adopt` in a declaration. Pure.

A lieutenant with `adopt` never gets a new machine in place of the one it names. Once it has been taken over it is a machine like
any other of ours (deletionPolicy, and replaced when it is dead), with one exception: a changed profile does not replace it. In a tree it
waits for no other node, since nothing is made or woken by it, but for room: limits count what was taken over as well.
"""

from __future__ import annotations

from reconciler.api.reasons import Reason
from reconciler.core.decisions import Adopt, Decision, Refuse, Wait
from reconciler.core.slot.tenancy import not_allowed
from reconciler.core.snapshot.origin import Named
from reconciler.core.snapshot.slot import Slot
from reconciler.core.snapshot.vm import Absent, Seen, Unknown, VmState


def adopt_the_declared(s: Slot) -> Decision | None:
    """G-07: a VM is taken over because its id was declared, never from another owner or namespace that does not share it, and nothing is
    made in its place."""
    if s.adopt is None or s.record.vm_id:
        return None
    vm_id = s.adopt.vm_id
    match s.adopt.vm:
        case Unknown(why, reason):
            return Wait(reason, why)
        case Absent():
            return Refuse(Reason.ADOPT_NOT_FOUND, f"VM {vm_id} does not exist, or this key may not see it")
        case Seen(VmState.DEAD):
            return Refuse(Reason.ADOPT_NOT_FOUND, f"VM {vm_id} is dead; there is nothing to take over")
        case Seen() if s.adopt.owner:
            return Refuse(Reason.ALREADY_OWNED, f"VM {vm_id} belongs to {s.adopt.owner}")
        case Seen(claimed_by=other) if other and s.record.chosen != vm_id:
            return Refuse(Reason.CLAIM_CONFLICT, f"VM {vm_id} is claimed by {other}")
        case _:
            refused = not_allowed(Named("VM", vm_id, s.adopt.origin), s.namespace, s.sharing)
            if refused is None and s.no_room is not None:
                return Wait(s.no_room.reason, s.no_room.message)  # G-09: it counts from the moment at which it is taken over
            return refused or Adopt(vm_id)
