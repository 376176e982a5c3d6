"""Acts that prepare a machine: files, steps and checks of its profile, each with a done-mark and a record of how it went."""

from __future__ import annotations

from reconciler.core.backoff import delay
from reconciler.core.boot import PREPARED
from reconciler.core.lieutenant import LieutenantView
from reconciler.core.machine import CommandResult, GuestCommand, GuestFile
from reconciler.core.records import BootRecord
from reconciler.core.rendering import Rendered, RenderedFile, digest
from reconciler.engine.acts import Tools
from reconciler.engine.content import bytes_of
from reconciler.engine.gather import place_at
from reconciler.engine.objects import LieutenantItem
from reconciler.engine.ports import where
from reconciler.errors import InvalidSpec

STEP_SCRIPT = "/var/lib/reconciler/steps/{name}.sh"


class BootActs:
    def __init__(self, tools: Tools) -> None:
        self.t = tools

    def content(self, item: LieutenantItem, file: RenderedFile) -> GuestFile:
        """A rendered file with its secret looked up now."""
        content = bytes_of(item.key, file, self.t.secrets)
        if content is None:
            assert file.secret is not None
            raise InvalidSpec(f"secret {file.secret.name} has no key {file.secret.key}", str(item.key), "provide it")
        return GuestFile(file.path, content, file.mode)

    async def write_files(self, item: LieutenantItem, view: LieutenantView, mark: str) -> None:
        """Files, then the done-mark that says which files."""
        assert isinstance(view.rendered, Rendered)
        rendered, slot = view.rendered, item.record.slot
        files, value = {
            "files": (rendered.files, rendered.files_hash),
            "agent": (rendered.agent_files, rendered.agent_hash),
            PREPARED: ((), rendered.profile_hash),
        }[mark]
        place, agents = place_at(item, view), self.t.agents
        if files:
            ready = [self.content(item, f) for f in files]
            await self.t.effects.call("keeper.write_files", lambda: agents.write_files(place, slot.epoch, ready, rendered.work_dir))
        await self.t.effects.call("keeper.mark", lambda: agents.mark(place, slot.epoch, mark, value))
        if mark == PREPARED:
            self.t.recorder.note(item.key, item.uid, "PreparedMachine", where(place))

    async def run_step(self, item: LieutenantItem, view: LieutenantView, name: str) -> None:
        """A step is a script of the user's own: it goes there as a file and is run by its path."""
        assert isinstance(view.rendered, Rendered)
        step = next(s for s in view.rendered.steps if s.name == name)
        slot, agents = item.record.slot, self.t.agents
        place, path = place_at(item, view), STEP_SCRIPT.format(name=step.name)
        script = GuestFile(path, step.run.encode(), 0o700)
        await self.t.effects.call("keeper.write_files", lambda: agents.write_files(place, slot.epoch, [script], view_dir(view)))
        command = GuestCommand(("sh", path), cwd=view_dir(view), env=self.environment(item, view), timeout=step.timeout)
        result = await self.t.effects.call("keeper.run", lambda: agents.run(place, slot.epoch, command))
        if result.exit_code == 0:
            mark = digest([step.run])
            await self.t.effects.call("keeper.mark", lambda: agents.mark(place, slot.epoch, f"step:{name}", mark))
            self.t.recorder.note(item.key, item.uid, "StepDone", f"{name} in {result.duration:.1f} s")
            return
        await self.boot_failed(item, view, f"step {name}", step.retries, how(result))

    async def run_verify(self, item: LieutenantItem, view: LieutenantView, name: str) -> None:
        assert isinstance(view.rendered, Rendered)
        check = next(c for c in view.rendered.checks if c.name == name)
        slot, agents = item.record.slot, self.t.agents
        place = place_at(item, view)
        command = GuestCommand(check.argv, cwd=view_dir(view), env=self.environment(item, view), timeout=check.timeout)
        result = await self.t.effects.call("keeper.run", lambda: agents.run(place, slot.epoch, command))
        problem = "" if result.exit_code == check.exit_code else f"{how(result)}, expected exit code {check.exit_code}"
        if not problem and check.stdout is not None and check.stdout.strip() != result.stdout.strip():
            problem = f"its output is {result.stdout.strip()[-200:]!r}, expected {check.stdout.strip()!r}"
        if problem:
            await self.boot_failed(item, view, f"check {name}", 0, problem)
            return
        await self.t.effects.call("keeper.mark", lambda: agents.mark(place, slot.epoch, f"verify:{name}", digest(list(check.argv))))

    async def boot_failed(self, item: LieutenantItem, view: LieutenantView, what: str, retries: int, problem: str) -> None:
        """Count it; try again later while retries are left."""
        assert isinstance(view.rendered, Rendered)
        boot = item.record.boot
        tries = boot.tries + 1 if boot.step == what else 1
        message = self.t.redact(f"{what}: {problem}")
        final = tries > retries
        boot = BootRecord(
            vm_id=place_at(item, view).id,
            step=what,
            tries=tries,
            not_before=self.t.clock.now() + delay(tries, self.t.jitter()),
            failed=message if final else "",
            failed_hash=view.rendered.profile_hash if final else "",
        )
        said = self.t.recorder.event(item.key, item.uid, "BootFailed" if final else "BootRetrying", message, "Warning")
        await self.t.save(item, item.record.but(boot=boot), *said)

    def environment(self, item: LieutenantItem, view: LieutenantView) -> dict[str, str]:
        """The declared environment, secrets looked up now."""
        assert isinstance(view.rendered, Rendered)
        env = dict(view.rendered.env)
        for name, ref in view.rendered.secret_env.items():
            value = self.t.secrets.get(item.key.namespace, ref.name, ref.key)
            if value is None:
                raise InvalidSpec(f"secret {ref.name} has no key {ref.key}", str(item.key), "provide it")
            env[name] = value
        return env


def view_dir(view: LieutenantView) -> str:
    assert isinstance(view.rendered, Rendered)
    return view.rendered.work_dir


def how(result: CommandResult) -> str:
    """How a command ended, in words, with the tail of what it said."""
    ended = "timed out" if result.exit_code is None else f"exit code {result.exit_code}"
    said = (result.stderr or result.stdout).strip()[-500:]
    return f"{ended}: {said}" if said else ended
