"""Operations on VMs: rows 1–18 of vers-api §2.1, lineage and edge codes of §3.3 as the knobs have them."""

from __future__ import annotations

import hashlib

from reconciler.vers.simulator import limits, wire
from reconciler.vers.simulator.records import (
    Caller,
    Commit,
    FreezeGuest,
    Phase,
    RemoveGuest,
    Shape,
    SnapshotGuest,
    ThawGuest,
    Vm,
)
from reconciler.vers.simulator.wire import Body, Json, JsonValue, Query, Reply
from reconciler.vers.simulator.world import NotYet, World, bounded, json_reply, json_row

_STATES = {"both": ("Paused", "Sleeping", "Running"), "paused": ("Paused", "Running"), "sleeping": ("Sleeping", "Running")}


class VmOps:
    """Each method is one operation: it returns the `Reply`, raises `ApiError`, or `NotYet` when the platform waits first."""

    def __init__(self, world: World) -> None:
        self.world = world

    # --- reading ---------------------------------------------------------------------------------------------------------

    def row(self, vm: Vm) -> Json:
        """The VM as list and status show it."""
        world = self.world
        return json_row(
            {
                "vm_id": vm.id,
                "owner_id": vm.owner,
                "created_at": world.stamp(vm.created_at),
                "state": vm.state(world.clock()),
                "labels": dict(vm.labels),
            },
            world.knobs,
        )

    def list_vms(self) -> Reply:
        """Everything of the organisation, whoever owns it; no filter, no pages."""
        world = self.world
        world.sweep()
        now = world.clock()
        rows: list[JsonValue] = [self.row(vm) for vm in world.present.values() if vm.listed_at <= now and vm.exists(now)]
        return json_reply(200, rows, world.knobs)

    def status(self, vm_id: str) -> Reply:
        world = self.world
        vm = world.vms.get(vm_id)
        if vm is not None and not vm.exists(world.clock()) and world.knobs.status_after_delete == "dead":
            return json_reply(200, {**self.row(vm), "state": "dead"}, world.knobs)
        return json_reply(200, self.row(world.vm(vm_id)), world.knobs)

    def metadata(self, vm_id: str) -> Reply:
        world = self.world
        vm = world.vms.get(vm_id)
        now = world.clock()
        if vm is None or (not vm.exists(now) and world.knobs.metadata_after_delete == "404"):
            raise wire.not_found()
        gone = not vm.exists(now)
        commit = world.commits.get(vm.parent_commit) if vm.parent_commit else None
        digest = hashlib.sha256(vm.id.encode()).hexdigest()
        row: Json = {
            "vm_id": vm.id,
            "owner_id": vm.owner,
            "created_at": world.stamp(vm.created_at),
            "state": "dead" if gone else vm.state(now),
            "ip": f"fd00:{digest[0:4]}:{digest[4:8]}::{digest[8:12]}",
            "deleted_at": world.stamp(vm.deleted_at) if gone and vm.deleted_at is not None else None,
            "parent_commit_id": vm.parent_commit,
            "grandparent_vm_id": commit.parent_vm if commit else None,
            "vcpu_count": vm.shape.vcpu,
            "mem_size_mib": vm.shape.mem,
        }
        return json_reply(200, json_row(row, world.knobs), world.knobs)

    def ssh_key(self, vm_id: str, who: Caller) -> Reply:
        vm = self.world.own_vm(vm_id, who)
        key = self.world.render_key(bytes.fromhex(vm.key_seed))
        port = 10_000 + vm.serial % 50_000
        return json_reply(200, json_row({"ssh_port": port, "ssh_private_key": key}, self.world.knobs), self.world.knobs)

    # --- making ----------------------------------------------------------------------------------------------------------

    def new_root(self, who: Caller, query: Query, body: Body) -> Reply:
        world = self.world
        wait = query.flag("wait_boot")
        config = body.part("vm_config")
        default = Shape()
        vcpu, mem, fs = config.number("vcpu_count"), config.number("mem_size_mib"), config.number("fs_size_mib")
        shape = Shape(vcpu or default.vcpu, mem or default.mem, fs or default.fs)
        for name in ("image_name", "kernel_name"):
            config.text(name)  # an unknown name is accepted silently (vers-api §2.1)
        labels = bounded(config.strings("labels") or {}, limits.LABELS, "labels")
        world.check_quota()
        vm = world.add_vm(who, "new_root", shape, labels, None, world.knobs.boot_s)
        return json_reply(201, {"vm_id": vm.id}, world.knobs, vm.running_at if wait else 0.0)

    def from_commit(self, who: Caller, body: Body) -> Reply:
        names = [name for name in ("commit_id", "tag_name", "ref") if body.has(name)]
        if len(names) != 1:
            raise wire.unparsable(f"expected exactly one of `commit_id`, `tag_name`, `ref` at line 1 column {len(body.raw)}")
        match names[0]:
            case "commit_id":
                commit = self.world.commit(body.required_uuid("commit_id"))
            case "tag_name":
                commit = self._tagged(body.required_text("tag_name"), "commit not found")
            case _:
                repo, separator, tag = body.required_text("ref").partition(":")
                if not separator or not repo or not tag or ":" in tag:
                    raise wire.refused(400, "Invalid ref format. Expected 'repo_name:tag_name'")
                commit = self._referred(repo, tag, "commit not found")
        self.world.check_quota()
        vm = self._restore(who, "from_commit", commit)
        return json_reply(201, {"vm_id": vm.id}, self.world.knobs, self.world.clock() + self.world.knobs.branch_s)

    def branch(self, who: Caller, vm_or_commit: str, query: Query) -> Reply:
        """The polymorphic one: whatever is missing, it says `commit not found`."""
        world = self.world
        vm = world.present.get(vm_or_commit)
        if vm is not None and vm.exists(world.clock()):
            return self.branch_by_vm(who, vm_or_commit, query, "branch")
        commit = world.commit(vm_or_commit)
        return self._branch(who, "branch", commit, query)

    def branch_by_vm(self, who: Caller, vm_id: str, query: Query, op: str = "branch_by_vm") -> Reply:
        """Pause, internal commit, children, resume (vers-api §2.1); `keep_paused` speaks of the parent."""
        world = self.world
        found = world.present.get(vm_id)
        if found is None or not found.exists(world.clock()):
            raise wire.hybrid(404, "parent vm not found")
        keep_paused, count = query.flag("keep_paused"), self._count(query)
        vm = world.settled_vm(vm_id, who, query.flag("skip_wait_boot"))
        if vm.phase == "dead":
            raise wire.hybrid(500, "vm is dead")
        world.check_quota(count)
        commit = self._snapshot(who, vm, op, None, None, None, keep_paused, internal=True)
        return self._branch(who, op, commit, query)

    def branch_by_commit(self, who: Caller, commit_id: str, query: Query) -> Reply:
        return self._branch(who, "branch_by_commit", self.world.commit(commit_id), query)

    def branch_by_tag(self, who: Caller, tag: str, query: Query) -> Reply:
        return self._branch(who, "branch_by_tag", self._tagged(tag, None), query)

    def branch_by_ref(self, who: Caller, repo: str, tag: str, query: Query) -> Reply:
        return self._branch(who, "branch_by_ref", self._referred(repo, tag, None), query)

    def _count(self, query: Query) -> int:
        count = query.number("count", 1)
        if count > limits.BRANCHES:
            raise wire.refused(400, f"count must be at most {limits.BRANCHES}")
        return count

    def _tagged(self, name: str, message: str | None) -> Commit:
        tag = self.world.tags.get(name)
        commit = self.world.commits.get(tag.commit) if tag and tag.commit else None
        if commit is None:
            raise wire.not_found(message) if message else wire.hybrid(404, "tag not found")
        return commit

    def _referred(self, repo: str, name: str, message: str | None) -> Commit:
        repository = self.world.repositories.get(repo)
        tag = repository.tags.get(name) if repository else None
        commit = self.world.commits.get(tag.commit) if tag and tag.commit else None
        if commit is None:
            raise wire.not_found(message) if message else wire.hybrid(404, "tag not found")
        return commit

    def _restore(self, who: Caller, op: str, commit: Commit) -> Vm:
        knobs = self.world.knobs
        boots = knobs.restore_boot_s if knobs.restore_initial_state == "booting" else 0.0
        labels = dict(commit.labels) if knobs.inherit_labels == "yes" else {}
        return self.world.add_vm(who, op, commit.shape, labels, commit.id, boots)

    def _branch(self, who: Caller, op: str, commit: Commit, query: Query) -> Reply:
        world = self.world
        count = self._count(query)
        world.check_quota(count)
        partial = world.knobs.count_partial
        made = partial if 0 < partial < count else count
        ids = [self._restore(who, op, commit).id for _ in range(made)]
        if made < count:
            raise wire.hybrid(500, f"only {made} of {count} VMs could be created", ids)
        return json_reply(201, {"vms": [{"vm_id": v} for v in ids]}, world.knobs, world.clock() + world.knobs.branch_s)

    # --- snapshots -------------------------------------------------------------------------------------------------------

    def commit(self, who: Caller, vm_id: str, query: Query, body: Body) -> Reply:
        """`{}` or nothing as a body works; a client's commit_id only where the server still takes it (vers-api §2.1)."""
        world = self.world
        vm = world.settled_vm(vm_id, who, query.flag("skip_wait_boot"))
        if vm.phase == "dead":
            raise wire.refused(500, "vm is dead")
        wanted, name, description = body.uuid("commit_id"), body.short("name"), body.short("description", limits.TEXT)
        if world.knobs.accept_commit_id == "ignore":
            wanted = None
        if wanted is not None and wanted in world.commits:
            raise wire.refused(409, "commit already exists")  # final: no client tries a conflict again
        commit = self._snapshot(who, vm, "commit", wanted, name, description, query.flag("keep_paused"), internal=False)
        return json_reply(201, {"commit_id": commit.id}, world.knobs, world.clock() + world.knobs.commit_s)

    def _snapshot(
        self,
        who: Caller,
        vm: Vm,
        op: str,
        wanted: str | None,
        name: str | None,
        description: str | None,
        keep_paused: bool,
        *,
        internal: bool,
    ) -> Commit:
        world = self.world
        world.check_room(world.commits, "commits", limits.COMMITS)
        commit_id = wanted or world.new_id()
        commit = Commit(
            commit_id,
            name or f"commit-{commit_id[:8]}",
            who.owner,
            world.clock(),
            vm.id,
            vm.parent_commit,
            vm.shape,
            dict(vm.labels),
            description,
            internal=internal,
        )
        world.commits[commit_id] = commit
        frozen = vm.suspended
        world.effects.append(SnapshotGuest(vm.id, commit_id, frozen))
        if keep_paused and not frozen:
            vm.phase = self._suspended_phase("Paused")
            world.effects.append(FreezeGuest(vm.id))
        elif frozen and not keep_paused and world.knobs.commit_suspended_resumes == "yes":
            vm.phase = "running"
            world.effects.append(ThawGuest(vm.id, restart=False))
        world.changed(who, "commit", commit_id, f"vm={vm.id} by={op}")
        world.touch("commit", commit_id)
        world.touch("vm", vm.id)
        return commit

    # --- changing --------------------------------------------------------------------------------------------------------

    def delete_vm(self, who: Caller, vm_id: str, query: Query) -> Reply:
        """403 JSON for what is not there or not ours (the "403 trap", F6)."""
        world = self.world
        skip = query.flag("skip_wait_boot")
        found = world.present.get(vm_id)
        if found is None or not found.exists(world.clock()):
            raise wire.forbidden() if world.knobs.delete_missing == "403json" else wire.not_found()
        vm = world.settled_vm(vm_id, who, skip)
        now = world.clock()
        if vm.deleted_at is not None:
            return json_reply(200, {"vm_id": vm_id}, world.knobs, vm.deleted_at)
        if vm.suspended and world.knobs.delete_suspended != "ok":
            raise wire.refused(int(world.knobs.delete_suspended), "VM must be running to be deleted")
        vm.deleted_at = now + world.knobs.delete_s
        vm.leaked = world.knobs.leak_on_delete == "yes"
        if vm.deleted_at <= now:
            del world.present[vm_id]
        world.effects.append(RemoveGuest(vm_id, vm.deleted_at))
        world.changed(who, "delete_vm", vm_id)
        world.touch("vm", vm_id)
        return json_reply(200, {"vm_id": vm_id}, world.knobs, vm.deleted_at)

    def set_state(self, who: Caller, vm_id: str, query: Query, body: Body) -> Reply:
        """Capitalised words in, lower-case states out; the wrong dialect is a text 422 (vers-api §3.1)."""
        world = self.world
        word = body.required_text("state")
        known = _STATES[world.knobs.suspend_dialect]
        if word not in known:
            expected = f"`{known[0]}` or `{known[1]}`" if len(known) == 2 else "one of " + ", ".join(f"`{k}`" for k in known)
            raise wire.misshapen(f"state: unknown variant `{word}`, expected {expected}", body.column("state"))
        vm = world.settled_vm(vm_id, who, query.flag("skip_wait_boot"))
        if vm.phase == "dead":
            raise wire.refused(400, "VM is dead")
        if word == "Running":
            if not vm.suspended:
                if world.knobs.resume_when_running == "400":
                    raise wire.refused(400, "VM is already running")
                return wire.empty()
            vm.phase = "running"
            vm.ssh_at = world.clock() + world.knobs.ssh_ready_delay_s
            world.effects.append(ThawGuest(vm_id, world.knobs.lose_processes_on_resume == "yes"))
        else:
            if vm.suspended:
                if world.knobs.pause_when_paused == "400":
                    raise wire.refused(400, "VM is already paused")
                return wire.empty()
            vm.phase = self._suspended_phase(word)
            world.effects.append(FreezeGuest(vm_id))
        world.changed(who, "set_state", vm_id, word)
        world.touch("vm", vm_id)
        return wire.empty()

    def _suspended_phase(self, word: str) -> Phase:
        reads = self.world.knobs.suspended_reads_as
        return reads if reads != "match" else ("sleeping" if word == "Sleeping" else "paused")

    def resize_disk(self, who: Caller, vm_id: str, query: Query, body: Body) -> Reply:
        size = body.number("fs_size_mib")
        if size is None:
            raise body.missing("fs_size_mib")
        vm = self.world.settled_vm(vm_id, who, query.flag("skip_wait_boot"))
        if size <= vm.shape.fs:
            raise wire.refused(400, "new size not larger than current")
        vm.shape = Shape(vm.shape.vcpu, vm.shape.mem, size)
        self.world.changed(who, "resize_disk", vm_id, str(size))
        self.world.touch("vm", vm_id)
        return wire.empty()

    # --- labels ----------------------------------------------------------------------------------------------------------

    def label(self, who: Caller, vm_id: str, body: Body) -> Reply:
        """Upsert; `{}` changes nothing, a missing `labels` is 400 (June)."""
        labels = self._labels(body)
        vm = self.world.own_vm(vm_id, who)
        return self._relabel(who, "label", vm, bounded({**vm.labels, **labels}, limits.LABELS, "labels"))

    def set_labels(self, who: Caller, vm_id: str, body: Body) -> Reply:
        labels = self._labels(body)
        return self._relabel(who, "set_labels", self.world.own_vm(vm_id, who), labels)

    def delete_label(self, who: Caller, vm_id: str, name: str) -> Reply:
        vm = self.world.own_vm(vm_id, who)
        if name not in vm.labels:
            raise wire.not_found("label not found")
        return self._relabel(who, "delete_label", vm, {k: v for k, v in vm.labels.items() if k != name})

    def _labels(self, body: Body) -> dict[str, str]:
        labels = body.strings("labels")
        if labels is None:
            raise wire.unparsable(f"missing field `labels` at line 1 column {len(body.raw)}")
        return bounded(labels, limits.LABELS, "labels")

    def _relabel(self, who: Caller, op: str, vm: Vm, labels: dict[str, str]) -> Reply:
        if labels != vm.labels:
            vm.labels = labels
            self.world.changed(who, op, vm.id, ",".join(sorted(labels)))
            self.world.touch("vm", vm.id)
        return wire.empty()

    # --- what happens inside ---------------------------------------------------------------------------------------------

    def runnable(self, who: Caller, vm_id: str) -> Vm:
        """The VM for exec and files: running, or the 500 the knob asks for (exec on a suspended VM is unknown: vers-api §2.2).
        Raises `NotYet` with infinity when it is to hang."""
        vm = self.world.settled_vm(vm_id, who, False)
        if vm.suspended and self.world.knobs.exec_suspended == "hang":
            raise NotYet(float("inf"))
        if vm.phase != "running":
            raise wire.refused(500, f"VM is {vm.phase}")
        return vm
