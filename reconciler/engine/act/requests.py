"""Writing down what people ask for by annotation."""

from __future__ import annotations

from reconciler.core.decisions import Acknowledge
from reconciler.core.lieutenant.requests import acknowledge
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.engine.act.context import ActContext
from reconciler.engine.act.providers import ProviderActs
from reconciler.engine.state.objects import LieutenantItem


class RequestActs:
    def __init__(self, context: ActContext) -> None:
        self.t, self.providers = context, ProviderActs(context)

    async def act(self, item: LieutenantItem, view: LieutenantView, action: Acknowledge) -> None:
        """A retry also confirms that VMs which vanished together are really gone; whoever owned them is woken.
        And the provider of its model is asked with the next prompt."""
        assert view.requests is not None
        if "retry" in action.verbs and item.record.slot.vm_id in self.t.fleet.vanished:
            for vm_id in self.t.fleet.confirm_vanished():
                self.t.watches.wake(self.t.table.owner_of(vm_id))
        if "retry" in action.verbs:
            await self.providers.asked_for(view.provider)
        await self.t.save(item, acknowledge(item.record, view.requests).record)
