"""Every command: its group, where its function is, and its first line of help. All of it is data, so that listing imports no command."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Entry:
    """One command. `target`: `module:function`; `summary`: the first line of that function's docstring; `kube`: it knows `--kube`."""

    name: str
    target: str
    summary: str
    kube: bool = False


GROUPS: dict[str, tuple[Entry, ...]] = {
    "Run": (
        Entry("demo", "reconciler.cli.demo.command:demo", "See it work on this machine: no key, no cluster, no network."),
        Entry("run", "reconciler.cli.run:run", "Follow declarations in files and make them true."),
        Entry("operator", "reconciler.cli.operator:operator", "Follow declarations in a Kubernetes cluster and make them true."),
        Entry("simulate", "reconciler.cli.simulate:simulate", "Serve the Vers API on loopback, with real machines inside."),
    ),
    "Read": (
        Entry("get", "reconciler.cli.read:get", "Show objects: what is declared and what is true.", kube=True),
        Entry("describe", "reconciler.cli.describe:describe", "Show everything about one object.", kube=True),
        Entry("tree", "reconciler.cli.tree:tree", "Show the hierarchy: VMTrees, nodes, agents, machines, tasks.", kube=True),
        Entry("events", "reconciler.cli.events:events", "Show what happened, newest last.", kube=True),
        Entry("output", "reconciler.cli.said:output_of", "Print what an agent said.", kube=True),
        Entry("logs", "reconciler.cli.logs:logs", "Print or search the whole conversation of an agent."),
        Entry("plan", "reconciler.cli.run:plan", "Print what the loop would do; change nothing.", kube=True),
        Entry("validate", "reconciler.cli.validate:validate", "Check declarations without a controller."),
        Entry("explain", "reconciler.cli.make:explain", "Explain a kind or one of its fields."),
        Entry("wait", "reconciler.cli.wait:wait", "Wait until objects are as asked for.", kube=True),
        Entry("orphans", "reconciler.cli.orphans:orphans", "Show VMs that no object here owns; delete proven orphans.", kube=True),
        Entry("diff", "reconciler.cli.diff:diff", "Show in what two objects or two VMs are configured differently.", kube=True),
        Entry("auth", "reconciler.cli.auth:auth", "Say what an agent may do, and which secrets it is given.", kube=True),
        Entry("config", "reconciler.cli.settings:config_", "Show every setting and where it comes from; change the file."),
        Entry("doctor", "reconciler.cli.doctor:doctor", "Check what a controller needs, and say what to fix.", kube=True),
    ),
    "Act": (
        Entry("apply", "reconciler.cli.act:apply", "Declare objects without a directory.", kube=True),
        Entry("delete", "reconciler.cli.act:delete", "Undeclare objects.", kube=True),
        Entry("send", "reconciler.cli.send:send", "Give a lieutenant a piece of work.", kube=True),
        Entry("cancel", "reconciler.cli.act:cancel", "Cancel a task.", kube=True),
        Entry("approve", "reconciler.cli.approvals:approve", "Let tool calls that wait go on.", kube=True),
        Entry("deny", "reconciler.cli.approvals:deny", "Deny tool calls that wait; the agent is told why and goes on.", kube=True),
        Entry("suspend", "reconciler.cli.act:suspend", "Declare a lieutenant or a VMTree Suspended.", kube=True),
        Entry("rewind", "reconciler.cli.resolve:rewind", "Take the conversation of a lieutenant back by whole turns.", kube=True),
        Entry("rollout", "reconciler.cli.rollout:rollout", "Look at, hold or undo a change that goes through a tree.", kube=True),
        Entry("memory", "reconciler.cli.memory:memory", "Show and change what agents remember.", kube=True),
        Entry("halt", "reconciler.cli.act:halt", "Stop the fleet from creating machines and delivering work."),
        Entry("prune", "reconciler.cli.prune:prune", "Show deletions that wait for a person; approve them."),
        Entry("resume", "reconciler.cli.act:resume", "Declare a lieutenant or a VMTree Running again.", kube=True),
        Entry("set", "reconciler.cli.act:set_", "Change fields of a declaration where it lives.", kube=True),
        Entry("retry", "reconciler.cli.act:retry", "Clear a back-off, a crash loop or a Stalled, and try again now.", kube=True),
        Entry("snapshot", "reconciler.cli.snapshots:snapshot", "Take a snapshot of a lieutenant's machine now.", kube=True),
        Entry("rollback", "reconciler.cli.snapshots:rollback", "Let an agent go back to a snapshot.", kube=True),
        Entry("resolve", "reconciler.cli.resolve:resolve", "Answer what a lieutenant is stalled for.", kube=True),
        Entry("adopt", "reconciler.cli.adopt:adopt", "Declare lieutenants or a VMTree for VMs that exist.", kube=True),
        Entry("forget", "reconciler.cli.adopt:forget", "Undeclare a lieutenant and leave its VM as it is.", kube=True),
        Entry("exec", "reconciler.cli.exec:exec_", "Run a command on the machine of an agent, beside the agent.", kube=True),
        Entry("cp", "reconciler.cli.cp:cp", "Copy a file or a directory to or from the machine of an agent.", kube=True),
        Entry("attach", "reconciler.cli.attach:attach", "Follow what an agent says and does, live; send it what you type."),
        Entry("export", "reconciler.cli.archive:export", "Write the whole store to one file."),
        Entry("import", "reconciler.cli.archive:import_", "Take everything from an export into a new store."),
    ),
    "Make": (
        Entry("init", "reconciler.cli.init:init", "Write a commented starter folder."),
        Entry("crds", "reconciler.cli.make:crds", "Make the CustomResourceDefinitions of all kinds."),
        Entry("schema", "reconciler.cli.make:schema", "Make JSON schemas for editors."),
        Entry("completion", "reconciler.cli.completion:completion", "Print the script that completes command lines in a shell."),
        Entry("version", "reconciler.cli.version:version", "Print the version."),
    ),
}  # fmt: skip
"""By the title under which help lists them."""

CLUSTERS = frozenset(entry.name for group in GROUPS.values() for entry in group if entry.kube)
"""Commands that know `--kube`."""
