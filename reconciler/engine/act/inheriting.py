"""The conversation of an adopted machine: the newest one that pi kept there is copied, and the copy goes on (G-36). The file that it is a
copy of stays as it is."""

from __future__ import annotations

from reconciler.api.reasons import Reason
from reconciler.core.lieutenant.session import SESSION_DIR, newest_first
from reconciler.core.snapshot.machine import CommandResult, GuestCommand
from reconciler.engine.act.context import ActContext
from reconciler.engine.places import machine_of
from reconciler.engine.state.objects import LieutenantItem, session_of
from reconciler.errors import GuestFailed

PATIENCE = 60.0
MOST = 5
"""Files that are looked into, the newest."""
HEADER = b'{"type":"session"'
"""How a conversation of pi begins, blanks left out."""
LOOKED_INTO = 4096


class InheritActs:
    def __init__(self, tools: ActContext) -> None:
        self.t = tools

    async def go_on(self, item: LieutenantItem) -> None:
        """Find it, copy it under the name of this conversation, and write down that it was looked for. Cut off before that is written,
        all of it is done again."""
        vm_id, target = item.record.slot.vm_id, session_of(item).file
        found = await self.find(item, target)
        if found:
            await self.copy(item, found, target)
        told = f"{target} begins as a copy of {found} on VM {vm_id}"
        said = self.t.recorder.event(item.key, item.uid, Reason.CONTINUED_SESSION, told) if found else []
        record = self.t.current(item)
        await self.t.save(item, record.but(session=record.session.but(looked_on=vm_id, found=found)), *said)

    async def find(self, item: LieutenantItem, target: str) -> str:
        """The newest file that is a conversation of pi, '' when there is none. Raises `GuestUnreachable`."""
        listed = await self.run(item, "find", SESSION_DIR, "-type", "f", "-name", "*.jsonl", "-size", "+0", "-printf", r"%T@ %p\n")
        for path in newest_first(listed.stdout)[:MOST]:
            begins = await self.run(item, "head", "-c", str(LOOKED_INTO), "--", path)
            if path != target and begins.exit_code == 0 and begins.stdout.replace(" ", "").encode().startswith(HEADER):
                return path
        return ""

    async def copy(self, item: LieutenantItem, found: str, target: str) -> None:
        """Whole or not at all. Raises `GuestFailed`."""
        half = f"{target}.part"
        for argv in (("cp", "--", found, half), ("sync", half), ("chmod", "600", half), ("mv", "-n", "--", half, target)):
            done = await self.run(item, *argv)
            if done.exit_code != 0:
                what = f"the conversation that was found can't be copied: {argv[0]} ended with exit code {done.exit_code}"
                raise GuestFailed(what, item.record.slot.vm_id, self.t.redact(done.stderr.strip()[-300:]), done.exit_code)

    async def run(self, item: LieutenantItem, *argv: str) -> CommandResult:
        return await self.t.agents.run(machine_of(item), GuestCommand(argv, cwd="/", timeout=PATIENCE))
