"""Acts inside a machine: clock, claim, keeper, files, steps, and pi itself."""

from __future__ import annotations

from typing import assert_never

from reconciler.core.actions import (
    CorrectClock,
    CountCrash,
    GuestAction,
    Install,
    RestoreSession,
    RunStep,
    RunVerify,
    StartAgent,
    StartKeeper,
    StopAgent,
    WriteClaim,
    WriteFiles,
)
from reconciler.core.backoff import delay
from reconciler.core.lieutenant import KEEPER_PREPARED, LieutenantView
from reconciler.core.machine import CommandResult, GuestCommand, GuestFile
from reconciler.core.observations import Agent, Exited
from reconciler.core.records import BootRecord, RestartRecord
from reconciler.core.rendering import AGENT_DIR, Rendered, RenderedFile, digest
from reconciler.engine.acts import Tools
from reconciler.engine.gather import place_of, session_of
from reconciler.engine.objects import LieutenantItem
from reconciler.engine.ports import Launch
from reconciler.engine.redaction import unseal
from reconciler.errors import GuestFailed, InvalidSpec

STOP_GRACE = 10.0
STEP_SCRIPT = "/var/lib/reconciler/steps/{name}.sh"


class GuestActs:
    def __init__(self, tools: Tools) -> None:
        self.t = tools

    async def act(self, item: LieutenantItem, view: LieutenantView, action: GuestAction) -> None:
        """Carry out one decision about the inside of the machine. Whatever it was, the next pass looks afresh."""
        slot = item.record.slot
        place, epoch, agents = place_of(item), slot.epoch, self.t.agents
        call = self.t.effects.call
        try:
            match action:
                case CorrectClock():
                    await call("guest.correct_clock", lambda: agents.correct_clock(place))
                    self.note(item, "CorrectedClock", f"VM {slot.vm_id}")
                case WriteClaim():
                    await call("guest.write_claim", lambda: agents.write_claim(place, view.claim))
                case Install():
                    await call("guest.install", lambda: agents.install(place))
                    self.note(item, "InstalledAgent", f"VM {slot.vm_id}")
                case StartKeeper():
                    await call("guest.start_keeper", lambda: agents.start_keeper(place, epoch))
                case WriteFiles():
                    await self.write_files(item, view, action.mark)
                case RunStep():
                    await self.run_step(item, view, action.step)
                case RunVerify():
                    await self.run_verify(item, view, action.check)
                case RestoreSession():
                    await self.restore(item, view)
                case StartAgent():
                    await self.start(item, view)
                case StopAgent(_, why, hung):
                    await call("keeper.stop_agent", lambda: agents.stop_agent(place, epoch, STOP_GRACE))
                    self.note(item, "StoppedAgent", why)
                    if hung:
                        await self.count(item, item.record.restart.crash_at, None, None, why)
                case CountCrash():
                    await self.count_crash(item, view)
                case _:
                    assert_never(action)
        finally:
            self.t.gatherer.look_again(place.id)

    def note(self, item: LieutenantItem, reason: str, message: str) -> None:
        self.t.recorder.note(item.key, item.uid, reason, message)

    # --- preparing -------------------------------------------------------------------------------------------------------------------

    def content(self, item: LieutenantItem, file: RenderedFile) -> GuestFile:
        """A rendered file with its secret looked up now."""
        if file.secret is None:
            return GuestFile(file.path, file.content.encode(), file.mode)
        value = self.t.secrets.get(item.key.namespace, file.secret.name, file.secret.key)
        if value is None:
            raise InvalidSpec(f"secret {file.secret.name} has no key {file.secret.key}", str(item.key), "provide it")
        return GuestFile(file.path, value.encode(), file.mode)

    async def write_files(self, item: LieutenantItem, view: LieutenantView, mark: str) -> None:
        """Files, then the done-mark that says which files."""
        assert isinstance(view.rendered, Rendered)
        rendered, slot = view.rendered, item.record.slot
        files, value = {
            "files": (rendered.files, rendered.files_hash),
            "agent": (rendered.agent_files, rendered.agent_hash),
            KEEPER_PREPARED: ((), rendered.profile_hash),
        }[mark]
        place, agents = place_of(item), self.t.agents
        if files:
            ready = [self.content(item, f) for f in files]
            await self.t.effects.call("keeper.write_files", lambda: agents.write_files(place, slot.epoch, ready, rendered.work_dir))
        await self.t.effects.call("keeper.mark", lambda: agents.mark(place, slot.epoch, mark, value))
        if mark == KEEPER_PREPARED:
            self.note(item, "PreparedMachine", f"VM {slot.vm_id}")

    async def run_step(self, item: LieutenantItem, view: LieutenantView, name: str) -> None:
        """A step is a script of the user's own: it goes there as a file and is run by its path."""
        assert isinstance(view.rendered, Rendered)
        step = next(s for s in view.rendered.steps if s.name == name)
        slot, agents = item.record.slot, self.t.agents
        place, path = place_of(item), STEP_SCRIPT.format(name=step.name)
        script = GuestFile(path, step.run.encode(), 0o700)
        await self.t.effects.call("keeper.write_files", lambda: agents.write_files(place, slot.epoch, [script], view_dir(view)))
        command = GuestCommand(("sh", path), cwd=view_dir(view), env=self.environment(item, view), timeout=step.timeout)
        result = await self.t.effects.call("keeper.run", lambda: agents.run(place, slot.epoch, command))
        if result.exit_code == 0:
            mark = digest([step.run])
            await self.t.effects.call("keeper.mark", lambda: agents.mark(place, slot.epoch, f"step:{name}", mark))
            self.note(item, "StepDone", f"{name} in {result.duration:.1f} s")
            return
        await self.boot_failed(item, view, f"step {name}", step.retries, how(result))

    async def run_verify(self, item: LieutenantItem, view: LieutenantView, name: str) -> None:
        assert isinstance(view.rendered, Rendered)
        check = next(c for c in view.rendered.checks if c.name == name)
        slot, agents = item.record.slot, self.t.agents
        place = place_of(item)
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
            vm_id=item.record.slot.vm_id,
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

    # --- pi ----------------------------------------------------------------------------------------------------------------------------

    async def restore(self, item: LieutenantItem, view: LieutenantView) -> None:
        """The conversation, from the mirror, to a machine that never had it."""
        transcripts, slot = self.t.gatherer.transcripts, item.record.slot
        session = session_of(item)
        data = unseal(await transcripts.read(session.name), self.t.secrets)
        file = GuestFile(session.file, data, 0o600)
        place = place_of(item)
        await self.t.effects.call("keeper.write_files", lambda: self.t.agents.write_files(place, slot.epoch, [file], view_dir(view)))
        self.note(item, "RestoredSession", f"{len(data)} bytes on VM {slot.vm_id}")

    async def start(self, item: LieutenantItem, view: LieutenantView) -> None:
        assert isinstance(view.rendered, Rendered)
        rendered, slot = view.rendered, item.record.slot
        launch = Launch(
            command=rendered.command,
            argv=rendered.argv,
            env={**self.environment(item, view), "PI_OFFLINE": "1", "PI_SKIP_VERSION_CHECK": "1", "PI_CODING_AGENT_DIR": AGENT_DIR},
            work_dir=rendered.work_dir,
            agent_dir=AGENT_DIR,
            session_file=session_of(item).file,
            launch_hash=rendered.launch_hash,
        )
        place = place_of(item)
        try:
            await self.t.effects.call("keeper.start_agent", lambda: self.t.agents.start_agent(place, slot.epoch, launch))
        except GuestFailed as failed:
            look = await self.t.effects.call("keeper.observe", lambda: self.t.agents.observe(place, slot.epoch, launch.session_file, 0))
            ended = look.agent.process
            if isinstance(ended, Exited):
                await self.count(item, ended.at, ended.exit_code, ended.signal, ended.stderr_tail)
            else:
                await self.count(item, item.record.restart.crash_at, failed.exit_code, None, failed.tail)
            return
        self.note(item, "StartedAgent", f"pi on VM {slot.vm_id}")

    async def count_crash(self, item: LieutenantItem, view: LieutenantView) -> None:
        assert isinstance(view.agent, Agent)
        assert isinstance(view.agent.process, Exited)
        ended = view.agent.process
        await self.count(item, ended.at, ended.exit_code, ended.signal, ended.stderr_tail)

    async def count(self, item: LieutenantItem, crash_at: float, exit_code: int | None, signal: str | None, stderr: str) -> None:
        """Write down an unasked-for end of pi; G-25 follows from what is written. `crash_at` is the guest's own time and
        only tells one end from another; all arithmetic is on our clock (G-12)."""
        policy, old, at = item.spec.restart, item.record.restart, self.t.clock.now()
        stable = old.times and at - old.times[-1] >= policy.crash_loop.stable_seconds
        recent = () if stable else tuple(t for t in old.times if t > at - policy.crash_loop.window_seconds)
        times = (*recent, at)
        wait = delay(len(times), self.t.jitter(), float(policy.backoff.base_seconds), float(policy.backoff.max_seconds))
        tail = self.t.redact(stderr)[-2048:]
        restart = RestartRecord(
            times=times,
            not_before=at + wait,
            crash_at=crash_at,
            degraded=len(times) > policy.crash_loop.max_restarts,
            generation=item.obj.generation,
            exit_code=exit_code,
            signal=signal,
            stderr_tail=tail,
        )
        ended = f"ended with signal {signal}" if signal else f"ended with exit code {exit_code}"
        if exit_code is None and signal is None:
            ended = "was stopped"
        said = self.t.recorder.event(item.key, item.uid, "AgentExited", f"pi {ended}: {tail[-300:]}", "Warning")
        await self.t.save(item, item.record.but(restart=restart), *said)


def view_dir(view: LieutenantView) -> str:
    assert isinstance(view.rendered, Rendered)
    return view.rendered.work_dir


def how(result: CommandResult) -> str:
    """How a command ended, in words, with the tail of what it said."""
    ended = "timed out" if result.exit_code is None else f"exit code {result.exit_code}"
    said = (result.stderr or result.stdout).strip()[-500:]
    return f"{ended}: {said}" if said else ended
