"""Acts that prepare a machine: files, organs, steps and checks of its profile, each with a done-mark and a record of how it went."""

from __future__ import annotations

import json
from collections.abc import Mapping

from reconciler.api.reasons import Reason
from reconciler.core.backoff import delay
from reconciler.core.decisions import ReadBack, RunStep, RunVerify
from reconciler.core.keys import Json
from reconciler.core.lieutenant.preparation import (
    PREPARED,
    SECRETS,
    check_mark,
    expected_skills,
    hash_of,
    marks_of,
    process_of,
    step_mark,
)
from reconciler.core.profile.organs import ORGANS, pieces
from reconciler.core.records import BootRecord, LoadedRecord, StepRecord
from reconciler.core.slot.marks import sealed
from reconciler.core.snapshot.agent import Agent, Guest, Up
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.machine import CommandResult, GuestCommand, GuestFile
from reconciler.core.snapshot.rendered import Check, Rendered, RenderedFile
from reconciler.engine.act.context import ActContext
from reconciler.engine.observe.content import bytes_of, value_of
from reconciler.engine.places import machine_at, place_at
from reconciler.engine.ports import Machine, where
from reconciler.engine.state.objects import LieutenantItem
from reconciler.errors import InvalidSpec

STEP_SCRIPT = "/var/lib/reconciler/steps/{name}.sh"
TAIL = 2048
"""Characters of a step's output that are kept."""


class BootActs:
    def __init__(self, tools: ActContext) -> None:
        self.t = tools

    # --- files ------------------------------------------------------------------------------------------------------------------

    def content(self, item: LieutenantItem, file: RenderedFile) -> GuestFile:
        """A rendered file with its secret looked up now."""
        content = bytes_of(item.key, file, self.t.secrets)
        if content is None:
            assert file.secret is not None
            raise InvalidSpec(f"{file.secret.words} is not there any more", str(item.key), "provide it")
        return GuestFile(file.path, content, file.mode)

    def files_of(self, item: LieutenantItem, rendered: Rendered, mark: str) -> list[GuestFile]:
        """What is written under one done-mark."""
        match mark:
            case "files":
                return [self.content(item, f) for f in rendered.files]
            case "secrets":
                return [self.content(item, f) for f in rendered.files if f.secret]
            case "agent":
                return [self.content(item, f) for f in rendered.agent_files]
            case "organs":
                return self.organ_files(item, rendered)
            case _:
                return []

    async def carry_files(self, old: Machine, directory: str, new: Machine, there: LieutenantItem, rendered: Rendered, limit: int) -> int:
        """Bring what is in a work directory to another machine, and over it what the profile of that one has there. How many bytes it has;
        when that is more than `limit`, nothing was brought."""
        archive = await self.t.agents.pack(old, directory, limit)
        if archive.content:
            await self.t.agents.unpack(new, rendered.work_dir, archive.content)
            await self.t.agents.write_files(new, self.files_of(there, rendered, "files"), rendered.work_dir)
        return archive.size if archive.content is not None else max(archive.size, limit + 1)

    def organ_files(self, item: LieutenantItem, rendered: Rendered) -> list[GuestFile]:
        """Program and skill of every organ and capability, and what the machine is told about its own place."""
        carried = pieces(rendered.organs, rendered.capabilities)
        programs = self.t.gatherer.profiles.organ_programs
        files = [
            GuestFile(f"{piece.directory}/{name}", text.encode(), 0o644)
            for piece in carried
            for name, text in sorted({**programs[piece.name], **{n: programs["shared"][n] for n in piece.shared}}.items())
        ]
        if "vm-tree" in rendered.organs:
            told = {
                "kind": item.key.kind,
                "namespace": item.key.namespace,
                "name": item.key.name,
                "profile": item.spec.profile_ref.name,
                "organs": list(rendered.organs),
                "capabilities": list(rendered.capabilities),
            }
            path = f"{ORGANS['vm-tree'].directory}/place.json"
            files.append(GuestFile(path, json.dumps(told, indent=1).encode() + b"\n", 0o644))
        return files

    async def write_files(self, item: LieutenantItem, view: LieutenantView, mark: str) -> None:
        """Files, then the done-mark that says which files."""
        assert isinstance(view.rendered, Rendered)
        rendered = view.rendered
        marks = {mark: hash_of(rendered, mark)}
        if mark == "files" and any(f.secret for f in rendered.files):
            marks[SECRETS] = rendered.secrets_hash
        await self.written(item, view, self.files_of(item, rendered, mark), marks)
        self.tell(item, view, marks)

    async def written(self, item: LieutenantItem, view: LieutenantView, files: list[GuestFile], marks: Mapping[str, str]) -> None:
        """These files, and then these done-marks."""
        at, slot = machine_at(item, view), self.t.current(item).slot
        told = {name: sealed(value, at.id, slot) for name, value in marks.items()}
        await self.t.agents.write_files(at, files, view_dir(view), told)

    def tell(self, item: LieutenantItem, view: LieutenantView, marks: Mapping[str, str]) -> None:
        """That the machine is prepared, when it is with these marks."""
        if PREPARED in marks:
            self.t.recorder.note(item.key, item.uid, Reason.PREPARED_MACHINE, where(place_at(item, view)))

    async def write(self, item: LieutenantItem, view: LieutenantView, rendered: Rendered, files: list[GuestFile]) -> None:
        await self.t.agents.write_files(machine_at(item, view), files, rendered.work_dir)

    async def mark(self, item: LieutenantItem, view: LieutenantView, name: str, value: str) -> None:
        at = machine_at(item, view)
        await self.t.agents.mark(at, name, sealed(value, at.id, self.t.current(item).slot))

    # --- steps and checks -----------------------------------------------------------------------------------------------------------

    async def run_step(self, item: LieutenantItem, view: LieutenantView, name: str) -> bool:
        """A step is a script of the user's own: it goes there as a file and is run by its path. Returns whether it ended well."""
        assert isinstance(view.rendered, Rendered)
        step = next(s for s in view.rendered.steps if s.name == name)
        path = STEP_SCRIPT.format(name=step.name)
        await self.write(item, view, view.rendered, [GuestFile(path, step.run.encode(), 0o700)])
        record = await self.begin(item, view, "Step", name)
        result = await self.run(item, view, ("sh", path), step.timeout)
        problem = "" if result.exit_code == 0 else how(result)
        return await self.ended(item, view, record, result, step_mark(step), problem, step.retries)

    async def run_verify(self, item: LieutenantItem, view: LieutenantView, name: str) -> bool:
        """A check of the profile, or that of an organ or capability. Returns whether it passed."""
        assert isinstance(view.rendered, Rendered)
        check = view.rendered.check(name)
        assert check is not None
        _, record = running(view, self.t.current(item).boot, check.kind, name)  # that it runs is told when it takes long
        result = await self.run(item, view, check.argv, check.timeout)
        return await self.ended(item, view, record, result, check_mark(check), problem_of(check, result), check.retries)

    async def run(self, item: LieutenantItem, view: LieutenantView, argv: tuple[str, ...], timeout: float) -> CommandResult:
        command = GuestCommand(argv, cwd=view_dir(view), env=self.environment(item, view), timeout=timeout)
        return await self.t.agents.run(machine_at(item, view), command)

    async def begin(self, item: LieutenantItem, view: LieutenantView, kind: str, name: str) -> StepRecord:
        """The record under which it runs: written down before, so that a long one can be seen while it does."""
        boot, record = running(view, self.t.current(item).boot, kind, name)
        if boot is not self.t.current(item).boot:
            await self.t.save(item, self.t.current(item).but(boot=boot))
        return record

    async def ended(
        self,
        item: LieutenantItem,
        view: LieutenantView,
        record: StepRecord,
        result: CommandResult,
        mark: tuple[str, str],
        problem: str,
        retries: int,
    ) -> bool:
        """Done-mark and record of a good end; of a bad one the record, and another try while some are left."""
        assert isinstance(view.rendered, Rendered)
        tail = self.t.redact("\n".join(part for part in (result.stdout.strip(), result.stderr.strip()) if part))[-TAIL:]
        record = record.but(
            state="Failed" if problem else "Succeeded", exit_code=result.exit_code, seconds=round(result.duration, 3), tail=tail
        )
        boot = with_step(boot_of(view, self.t.current(item).boot), record)
        what = f"{record.kind.lower()} {record.name}" if record.kind in ("Step", "Verify") else record.name
        if not problem:
            marks = marks_of(view.rendered, view.guest.marks if isinstance(view.guest, Guest) else {}, mark)
            if PREPARED in marks:
                await self.written(item, view, [], marks)
            else:
                await self.mark(item, view, *mark)
            cleared = boot.but(step="", tries=0, not_before=0.0) if boot.step == what else boot
            well = self.t.current(item).but(boot=cleared)
            told = Reason.STEP_DONE, f"{what} in {result.duration:.1f} s"
            if record.kind == "Step":
                await self.t.save(item, well, *self.t.recorder.event(item.key, item.uid, *told))
            else:  # the done-mark says that it is through, whatever becomes of us
                self.t.note(item, well)
                self.t.recorder.note(item.key, item.uid, *told)
            self.tell(item, view, marks)
            return True
        tries = boot.tries + 1 if boot.step == what else 1
        message = self.t.redact(f"{what}: {problem}")
        final = tries > retries
        boot = boot.but(
            step=what,
            tries=tries,
            not_before=self.t.clock.now() + delay(tries, self.t.jitter()),
            failed=message if final else "",
            failed_hash=view.rendered.profile_hash if final else "",
            tried_with=view.rendered.basis,
        )
        said = self.t.recorder.event(item.key, item.uid, Reason.BOOT_FAILED if final else Reason.BOOT_RETRYING, message, "Warning")
        await self.t.save(item, self.t.current(item).but(boot=boot), *said)
        return False

    def environment(self, item: LieutenantItem, view: LieutenantView) -> dict[str, str]:
        """The declared environment, secrets looked up now."""
        assert isinstance(view.rendered, Rendered)
        env = dict(view.rendered.env)
        for name, ref in view.rendered.secret_env.items():
            value = value_of(ref, item.key.namespace, self.t.secrets)
            if value is None:
                raise InvalidSpec(f"{ref.words} is not there any more", str(item.key), "provide it")
            env[name] = value
        return env

    # --- what pi has loaded -----------------------------------------------------------------------------------------------------------

    async def read_back(self, item: LieutenantItem, view: LieutenantView, action: ReadBack) -> None:
        """pi's own list of commands names the file of every skill it has (pi-rpc §2.1)."""
        assert isinstance(view.agent, Agent)
        assert isinstance(view.agent.process, Up)
        answer = await self.t.agents.call(machine_at(item, view), {"type": "get_commands"})
        found = skill_files(answer)
        missing = tuple(path for path in expected_skills(view.lt) if not any(has(file, path) for file in found))
        record = self.t.current(item).but(loaded=LoadedRecord(process=process_of(view.lt, view.agent.process), missing=missing))
        if not missing:
            self.t.note(item, record)
            return
        message = f"VM {action.vm_id}: pi has no skill at {', '.join(missing)}"
        said = self.t.recorder.event(item.key, item.uid, Reason.SKILL_NOT_LOADED, message, "Warning")
        await self.t.save(item, record, *said)


def kind_of_check(view: LieutenantView, action: RunStep | RunVerify) -> tuple[str, str]:
    """Kind and name of the record of this step or check."""
    if isinstance(action, RunStep):
        return "Step", action.step
    check = view.rendered.check(action.check) if isinstance(view.rendered, Rendered) else None
    return (check.kind if check is not None else "Verify"), action.check


def running(view: LieutenantView, boot: BootRecord, kind: str, name: str) -> tuple[BootRecord, StepRecord]:
    """The books while this step or check runs. What is said to run already, in this life of the controller or an earlier one, is the same
    run, or none."""
    mine = boot_of(view, boot)
    known = next((s for s in mine.steps if (s.kind, s.name) == (kind, name)), None)
    if known is not None and known.state == "Running":
        return boot, StepRecord(kind=kind, name=name, tries=known.tries)
    record = StepRecord(kind=kind, name=name, tries=(known.tries if known else 0) + 1)
    return with_step(mine, record), record


def skill_files(answer: Json) -> list[str]:
    """Files of the skills in pi's answer to `get_commands`; what is not of that shape says nothing."""
    data = answer.get("data")
    commands = data.get("commands") if isinstance(data, dict) else None
    found: list[str] = []
    for command in commands if isinstance(commands, list) else []:
        info = command.get("sourceInfo") if isinstance(command, dict) and command.get("source") == "skill" else None
        if isinstance(info, dict) and isinstance(info.get("path"), str):
            found.append(str(info["path"]))
    return found


def has(file: str, path: str) -> bool:
    """Whether this skill's file is the declared path, or lies in the declared directory."""
    return file == path or file.startswith(path.rstrip("/") + "/")


def boot_of(view: LieutenantView, boot: BootRecord) -> BootRecord:
    """What was recorded about this machine; nothing of another one."""
    return boot if boot.vm_id == view.vm_id else BootRecord(vm_id=view.vm_id)


def with_step(boot: BootRecord, step: StepRecord) -> BootRecord:
    """In the place of its first run."""
    if any((s.kind, s.name) == (step.kind, step.name) for s in boot.steps):
        return boot.but(steps=tuple(step if (s.kind, s.name) == (step.kind, step.name) else s for s in boot.steps))
    return boot.but(steps=(*boot.steps, step))


def view_dir(view: LieutenantView) -> str:
    assert isinstance(view.rendered, Rendered)
    return view.rendered.work_dir


def problem_of(check: Check, result: CommandResult) -> str:
    """What is wrong with how a check ended; '' when nothing is."""
    if result.exit_code != check.exit_code:
        return f"{how(result)}, expected exit code {check.exit_code}"
    if check.stdout is not None and check.stdout.strip() != result.stdout.strip():
        return f"its output is {result.stdout.strip()[-200:]!r}, expected {check.stdout.strip()!r}"
    return ""


def how(result: CommandResult) -> str:
    """How a command ended, in words, with the tail of what it said."""
    ended = "timed out" if result.exit_code is None else f"exit code {result.exit_code}"
    said = (result.stderr or result.stdout).strip()[-500:]
    return f"{ended}: {said}" if said else ended
