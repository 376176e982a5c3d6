"""For each field of a hierarchy, a story that shows it; see `field_scenarios`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from reconciler.core.keys import Key
from reconciler.core.snapshot.machine import VmShape
from tests.engine import test_rollout as rollouts
from tests.engine import test_tree_adoption as adoption
from tests.engine import test_tree_budget as budgets
from tests.engine import test_tree_machines as machines
from tests.engine import test_trees as trees
from tests.engine.stage import Stage, tell
from tests.engine.test_trees import TREE, agent, infra, nodes, stands, tree
from tests.world import World

LIEUTENANT: Mapping[str, Any] = {
    "role": "Own it",
    "instructions": {
        "inherit": False,
        "context": "Use PostgreSQL.",
        "directive": "Obey.",
        "files": [
            {"path": "a.txt", "content": "a", "mode": "0600"},
            {"path": "b.txt", "contentFrom": {"configMapKeyRef": {"name": "c", "key": "k"}}},
            {"path": "c.txt", "contentFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"path": "d.txt", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
            {"path": "e.txt", "valueFrom": {"exec": {"command": ["mint"], "refreshSeconds": 60}}},
            {"path": "f.txt", "valueFrom": {"file": {"path": "/run/token"}}},
        ],
    },
    "model": {
        "provider": "anthropic", "id": "claude", "thinking": "high",
        "fallbacks": [{"provider": "other", "id": "m", "thinking": "low"}],
    },
    "env": [
        {"name": "A", "value": "b"}, {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}},
        {"name": "C", "valueFrom": {"exec": {"command": ["mint"], "refreshSeconds": 60}}},
        {"name": "D", "valueFrom": {"file": {"path": "/run/token"}}},
    ],
    "queue": {"maxPending": 7},
    "memory": {
        "scopes": ["Global"],
        "maxLines": 60,
        "extractFacts": True,
        "factsModel": {"provider": "other", "id": "m"},
    },
    "limits": {
        "taskTimeoutSeconds": 61, "noProgressSeconds": 62, "toolProgress": "Work", "firstArtifactSeconds": 63, "steerLandSeconds": 64,
        "maxTurns": 65,
    },
    "suspend": {"onBusy": "Abort", "graceSeconds": 66},
    "idle": {"suspendAfterSeconds": 36000, "wakeOnTask": False, "postTask": "Suspend"},
    "budget": {
        "maxCost": "99", "maxTokens": 999_999, "maxMachineHours": 99, "windowSeconds": 61, "calendar": "Week", "timeZone": "Europe/Berlin",
        "warnAtPercent": 50, "onExceeded": "DenyNew",
    },
    "permissions": {
        "tools": ["read"], "default": "Ask", "allow": ["read"], "ask": ["bash(x)"], "deny": ["bash(y)"], "askMayBeAllowed": True,
        "askTimeoutSeconds": 61, "examples": [{"call": "bash(y)", "expect": "Deny"}],
    },
    "compaction": {"auto": False, "reserveTokens": 3000, "keepRecentTokens": 1500, "reassertDirective": False},
    "health": {"periodSeconds": 11, "failureThreshold": 4, "startupTimeoutSeconds": 121},
    "restart": {
        "backoff": {"baseSeconds": 3, "maxSeconds": 301},
        "crashLoop": {"maxRestarts": 6, "windowSeconds": 1801, "stableSeconds": 302},
    },
    "session": {"generation": 2, "onLost": "New", "onWorkspaceLost": "Hold"},
    "update": {"onProfileChange": "Recreate", "onNoRoom": "InPlace"},
    "snapshots": {"schedule": "0 3 * * *", "timeZone": "Europe/Berlin", "keep": 3, "verify": "None", "beforeMutate": True},
    "managementPolicy": "NoDelete",
    "deletionPolicy": "Retain",
}  # fmt: skip
"""Every field that a node's lieutenant may have, each with another value than it has by default."""


def leaves(value: object, at: str = "") -> Iterator[str]:
    """The paths of all values in it, lists with `[]`."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from leaves(inner, f"{at}.{name}".removeprefix("."))
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, f"{at}[]")
    else:
        yield at


def found(value: object, path: str) -> list[object]:
    """What stands at a path, in every item of the lists on the way."""
    at = [value]
    for step in path.split("."):
        name, many = step.removesuffix("[]"), step.endswith("[]")
        below = [one[name] for one in at if isinstance(one, Mapping) and name in one]
        at = [inner for one in below for inner in (one if many and isinstance(one, list) else [one])]
    return at


def reaches_the_lieutenant(path: Path, field: str) -> object:
    """What a node says of its lieutenant stands in that lieutenant's declaration."""

    async def story(s: Stage) -> None:
        await tree(s, agent("a", lieutenant=LIEUTENANT))
        key = Key("Lieutenant", "default", "prod-a")
        await s.until(lambda: s.engine.table.get(key) is not None, "its lieutenant is declared")
        item = s.engine.table.get(key)
        assert item is not None
        assert found(item.obj.spec, field) == found(LIEUTENANT, field) != []

    return tell(path, story)


SNAPSHOTS = {"schedule": "7 3 * * *", "timeZone": "Europe/Berlin", "keep": 3, "verify": "All", "beforeMutate": True}


def reaches_every_node(path: Path, field: str) -> object:
    """What a tree says of snapshots stands in what it declares for its nodes, where they say nothing themselves."""

    async def story(s: Stage) -> None:
        await tree(s, agent("a"), snapshots=SNAPSHOTS)
        await s.until(lambda: spec_of(s, "prod-a") != {}, "its lieutenant is declared")
        assert found(spec_of(s, "prod-a").get("snapshots"), field) == [SNAPSHOTS[field]]

    return tell(path, story)


def spec_of(s: Stage, name: str) -> Mapping[str, object]:
    item = s.engine.table.get(Key("Lieutenant", "default", name))
    return item.obj.spec if item is not None else {}


async def profile_of_a_node(s: Stage) -> None:
    await tree(s, agent("a", profileRef={"name": "swarm"}))
    await s.until(lambda: spec_of(s, "prod-a") != {}, "its lieutenant is declared")
    assert spec_of(s, "prod-a")["profileRef"] == {"name": "swarm"}


async def a_branch(s: Stage) -> None:
    await tree(s, agent("a"), agent("b", "a", **{"from": "Parent"}))
    await s.until(lambda: spec_of(s, "prod-b") != {}, "its lieutenant is declared")
    assert spec_of(s, "prod-b")["fork"] == {"from": {"name": "prod-a"}}


async def mode_of_a_node(s: Stage) -> None:
    await tree(s, agent("a", mode="Suspended"), agent("b"))
    await stands(s)
    assert {name: node.get("vmId") is None for name, node in nodes(s).items()} == {"a": True, "b": False}


async def size_of_a_node(s: Stage) -> None:
    await tree(s, infra("a", resources={"vcpus": 3, "memoryMiB": 1024, "diskMiB": 2048}))
    await stands(s)
    assert s.world.alive()[0].shape == VmShape(3, 1024, 2048)


async def a_suspended_node_alone(s: Stage) -> None:
    whole = agent("a", mode="Suspended"), agent("b", "a")
    await tree(s, *whole, policy={"suspend": "NodeOnly"})
    await stands(s)
    assert nodes(s)["b"].get("vmId")


async def kept_machines(s: Stage) -> None:
    await tree(s, agent("a"), deletionPolicy="Retain")
    await stands(s)
    await s.engine.declarations.withdraw(TREE, "gone")
    await s.gone(TREE)
    assert len(s.world.alive()) == 1


async def what_those_above_are_told(s: Stage) -> None:
    told = {"role": "x", "instructions": {"context": "Use PostgreSQL."}}
    own = {"role": "y", "instructions": {"inherit": False, "context": "Be brief."}}
    await tree(s, agent("a", lieutenant=told), agent("b", "a"), agent("c", "a", lieutenant=own))
    await s.until(lambda: spec_of(s, "prod-c") != {}, "all are declared")
    assert spec_of(s, "prod-b")["instructions"] == {"context": "Use PostgreSQL."}
    assert spec_of(s, "prod-c")["instructions"] == {"inherit": False, "context": "Be brief."}


def played(story: Callable[[Stage], Any]) -> Callable[[Path], object]:
    return partial(_play, story=story)


def _play(path: Path, story: Callable[[Stage], Any]) -> object:
    return tell(path, story, World(4.0))


NODE = "VMTree.nodes[]"
TREE_STORIES: dict[str, Callable[[Path], object]] = {
    **{f"{NODE}.lieutenant.{field}": partial(reaches_the_lieutenant, field=field) for field in leaves(LIEUTENANT)},
    f"{NODE}.lieutenant.instructions.inherit": played(what_those_above_are_told),
    f"{NODE}.name": trees.test_every_node_gets_its_machine_and_agent_nodes_a_lieutenant,
    f"{NODE}.category": trees.test_every_node_gets_its_machine_and_agent_nodes_a_lieutenant,
    f"{NODE}.parent": trees.test_machines_come_roots_first_and_go_leaves_first,
    f"{NODE}.from": played(a_branch),
    f"{NODE}.profileRef.name": played(profile_of_a_node),
    f"{NODE}.adopt.vmId": adoption.test_every_node_takes_over_the_machine_that_it_names_and_its_agent_goes_on,
    f"{NODE}.replicas": trees.test_every_node_gets_its_machine_and_agent_nodes_a_lieutenant,
    f"{NODE}.mode": played(mode_of_a_node),
    f"{NODE}.protected": trees.test_a_tree_with_a_protected_node_goes_only_when_that_is_confirmed,
    **{f"{NODE}.resources.{size}": played(size_of_a_node) for size in ("vcpus", "memoryMiB", "diskMiB")},
    f"{NODE}.update.onProfileChange": partial(machines.test_so_many_at_a_time_get_another_machine_with_their_files, at_once=1),
    f"{NODE}.update.onNoRoom": partial(machines.test_without_room_for_both_it_waits_or_goes_first_as_declared, there="InPlace"),
    "VMTree.mode": trees.test_machines_come_roots_first_and_go_leaves_first,
    "VMTree.limits.maxVMs": trees.test_never_more_creates_at_once_nor_more_machines_than_the_limits_say,
    "VMTree.limits.maxDepth": trees.test_more_levels_or_children_than_allowed_are_refused_and_the_rest_stands,
    "VMTree.limits.maxChildren": trees.test_more_children_than_allowed_are_refused,
    "VMTree.limits.maxConcurrentCreates": trees.test_so_many_are_made_at_once_and_no_more,
    "VMTree.limits.maxWorking": trees.test_no_more_agents_work_at_once_than_the_limit_says,
    "VMTree.policy.onNodeRemoved": trees.test_nodes_below_a_removed_one_stay_one_level_up_when_the_tree_says_so,
    "VMTree.policy.suspend": played(a_suspended_node_alone),
    "VMTree.strategy.maxUnavailable": rollouts.test_more_nodes_at_a_time_where_the_strategy_says_so,
    "VMTree.deletionPolicy": played(kept_machines),
    **{f"VMTree.snapshots.{field}": partial(reaches_every_node, field=field) for field in SNAPSHOTS},
    "VMTree.budget.maxCost": budgets.test_money_is_counted_too_and_warned_of_before_it_is_spent,
    "VMTree.budget.warnAtPercent": budgets.test_money_is_counted_too_and_warned_of_before_it_is_spent,
    "VMTree.budget.maxTokens": budgets.test_what_one_agent_spends_holds_the_work_of_all,
    "VMTree.budget.windowSeconds": budgets.test_what_one_agent_spends_holds_the_work_of_all,
    **{f"VMTree.budget.{field}": partial(budgets.reaches_the_pool, field=field) for field in ("maxMachineHours", "calendar", "timeZone")},
    "VMTree.budget.onExceeded": budgets.test_one_that_only_warns_holds_nothing,
}
