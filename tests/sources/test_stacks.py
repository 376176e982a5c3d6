"""Stacks: what a directory does not declare any more, and everything that keeps it from being deleted (G-43, G-40)."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from reconciler.cli.edit import edit_by
from reconciler.core.conditions import condition_of
from reconciler.core.keys import Json, Key
from reconciler.engine.supervision import Supervisor
from reconciler.errors import Refused
from reconciler.serve.commands import Commands
from reconciler.serve.removing import removing
from reconciler.sources.files.source import FileSource
from reconciler.sources.files.sync import spec_in_file, still_in_file
from reconciler.sources.follower import Follower
from tests.sources.fleetdir import OTHER, UUID, FleetDir, fleet_dir, marker, profile, protected, tree

ALL = {"a", "b", "c"}
BP = Key("BootProfile", "default", "b")


async def three(one: FleetDir) -> None:
    for name in sorted(ALL):
        one.write(f"{name}.yaml", profile(name))
    await one.look()
    assert one.known() == ALL


async def test_what_a_stack_does_not_declare_any_more_is_deleted_after_two_looks(tmp_path: Path) -> None:
    async with fleet_dir(tmp_path) as one:
        await three(one)
        (one.root / "b.yaml").unlink()
        await one.look(60)
        assert one.known() == ALL
        assert one.sync.look_again == 10.0
        assert any("bootprofile/b is no longer declared in stack" in line and "it is deleted if that stays so" in line for line in one.told)
        await one.look(9.9)
        assert one.known() == ALL
        await one.look(0.1)
        assert one.known() == {"a", "c"}
        assert one.sync.look_again is None


@pytest.mark.guarantee("G-43")
async def test_a_directory_without_a_marker_deletes_nothing(tmp_path: Path) -> None:
    async with fleet_dir(tmp_path, mark=False) as one:
        await three(one)
        (one.root / "b.yaml").unlink()
        await one.settle()
        assert one.known() == ALL
        assert one.blocked() == {}
        assert any("bootprofile/b is no longer declared; kept" in line for line in one.told)


@pytest.mark.guarantee("G-43")
async def test_beyond_the_cap_nothing_goes_until_a_person_approves_exactly_that(tmp_path: Path) -> None:
    async with fleet_dir(tmp_path, maxDelete=1) as one:
        await three(one)
        for name in ("a", "b"):
            (one.root / f"{name}.yaml").unlink()
        await one.look()
        (line,) = [line for line in one.told if "bootprofile/b is no longer declared" in line]
        assert line.endswith("if that stays so for 10 s, its deletion waits for a person: `maxDelete` allows 1 at once")
        await one.settle()
        assert one.known() == ALL
        assert "`maxDelete` allows 1" in one.blocked()[UUID]
        first = one.hash()
        events = await one.engine.store.events()
        (event,) = [event for event in events if event.reason == "PruneBlocked"]
        assert f"`reconciler prune --approve {first}`" in event.message
        assert "bootprofile/a, bootprofile/b" in event.message
        with pytest.raises(Refused, match="nothing is blocked under that hash"):
            await one.engine.declarations.approve_prune("0123456789abcdef")
        one.write("d.yaml", profile("d"))
        await one.approve()
        await one.look()
        assert one.known() == {*ALL, "d"}, "the stack was written meanwhile: it is looked at once more"
        await one.look(10)
        assert one.known() == {"c", "d"}
        assert one.blocked() == {}
        assert one.engine.declarations.prunes.approved == {}


async def test_an_approval_survives_a_restart_and_is_good_for_nothing_else(tmp_path: Path) -> None:
    async with fleet_dir(tmp_path, maxDelete=0) as one:
        await three(one)
        (one.root / "a.yaml").unlink()
        await one.settle()
        await one.approve()
        (one.root / "b.yaml").unlink()
    async with fleet_dir(tmp_path, maxDelete=0) as one:
        await one.look()
        one.write("b.yaml", profile("b"))
        await one.settle()
        assert one.known() == {"b", "c"}


@pytest.mark.guarantee("G-43")
async def test_an_approval_is_void_once_a_look_found_something_else(tmp_path: Path) -> None:
    async with fleet_dir(tmp_path, maxDelete=0) as one:
        await three(one)
        (one.root / "a.yaml").unlink()
        await one.settle()
        await one.approve()
        (one.root / "b.yaml").unlink()
        await one.settle()
        assert one.known() == ALL, "one more is missing: that is another list"
        one.write("b.yaml", profile("b"))
        await one.settle()
        assert one.known() == ALL, "the same list again, later, needs a person again"


@pytest.mark.guarantee("G-43")
async def test_one_bad_document_holds_every_deletion_of_its_stack_and_of_no_other(tmp_path: Path) -> None:
    async with fleet_dir(tmp_path) as one:
        await three(one)
        one.write("team/.reconciler.yaml", marker(OTHER))
        one.write("team/x.yaml", profile("x"))
        one.write("team/z.yaml", profile("z"))
        await one.look()
        (one.root / "b.yaml").unlink()
        (one.root / "team" / "x.yaml").unlink()
        one.write("bad.yaml", "kind: [")
        await one.settle()
        assert one.known() == {*ALL, "z"}
        assert "bad.yaml:1 has to be mended first" in one.blocked()[UUID]
        (one.root / "bad.yaml").unlink()
        await one.settle()
        assert one.known() == {"a", "c", "z"}


@pytest.mark.guarantee("G-43")
async def test_an_emptied_an_unmounted_and_an_unmarked_directory_delete_nothing(tmp_path: Path) -> None:
    async with fleet_dir(tmp_path, maxDelete=100) as one:
        await three(one)
        kept = tmp_path / "kept"
        shutil.copytree(one.root, kept)
        for name in ALL:
            (one.root / f"{name}.yaml").unlink()
        await one.settle()
        assert one.known() == ALL
        assert "declares nothing any more" in one.blocked()[UUID]
        (one.root / ".reconciler.yaml").unlink()
        await one.settle()
        assert one.known() == ALL
        shutil.rmtree(one.root)
        await one.settle()
        assert one.known() == ALL
        shutil.copytree(kept, one.root)
        one.write(".reconciler.yaml", marker(allowEmpty=True, maxDelete=100))
        await one.settle()
        for name in ALL:
            (one.root / f"{name}.yaml").unlink()
        await one.settle()
        assert one.known() == set()


@pytest.mark.guarantee("G-43")
async def test_protection_is_remembered_after_the_file_is_gone(tmp_path: Path) -> None:
    async with fleet_dir(tmp_path, maxDelete=5) as one:
        await three(one)
        one.write("b.yaml", protected("b"))
        await one.look()
        (one.root / "a.yaml").unlink()
        (one.root / "b.yaml").unlink()
        await one.settle()
        assert one.known() == {"b", "c"}
        assert one.blocked()[UUID] == "it is protected"
        await one.approve()
        await one.look()
        assert one.known() == {"c"}, "an approval names what it lets go, so it is the confirmation"


async def test_what_comes_back_or_moves_to_another_stack_stays(tmp_path: Path) -> None:
    async with fleet_dir(tmp_path) as one:
        await three(one)
        uid = one.engine.table.get(BP)
        assert uid is not None
        (one.root / "b.yaml").unlink()
        await one.look()
        one.write("team/.reconciler.yaml", marker(OTHER))
        one.write("team/b.yaml", profile("b"))
        await one.settle()
        item = one.engine.table.get(BP)
        assert item is not None
        assert (item.uid, item.obj.source_id) == (uid.uid, OTHER)


async def test_two_directories_with_one_uuid_delete_nothing(tmp_path: Path) -> None:
    async with fleet_dir(tmp_path) as one:
        await three(one)
        one.write("copy/.reconciler.yaml", marker())
        (one.root / "b.yaml").unlink()
        await one.settle()
        assert one.known() == ALL
        assert any("is the uuid of" in line for line in one.told)


# --- trees --------------------------------------------------------------------------------------------------------------------


def nodes(one: FleetDir) -> str:
    spec = one.spec("VMTree", "prod")["nodes"]
    assert isinstance(spec, list)
    return " ".join(f"{node['name']}:{node.get('replicas', 1)}" for node in spec)


@pytest.mark.guarantee("G-43")
async def test_a_removed_node_and_fewer_replicas_are_deletions_under_the_same_rule(tmp_path: Path) -> None:
    async with fleet_dir(tmp_path, maxDelete=2) as one:
        one.write("tree.yaml", tree("lead", "web", "work:3"))
        await one.look()
        one.write("tree.yaml", tree("lead", "work:2"))
        await one.look()
        assert nodes(one) == "lead:1 web:1 work:3", "not at once"
        assert one.sync.look_again == 10.0
        await one.look(10)
        assert nodes(one) == "lead:1 work:2"
        one.write("tree.yaml", tree("lead", "work:5"))
        await one.look()
        assert nodes(one) == "lead:1 work:5", "more waits for nothing"
        one.write("tree.yaml", tree("lead", "work:2"))
        await one.settle()
        assert nodes(one) == "lead:1 work:5"
        assert "allows 2" in one.blocked()[UUID]
        await one.approve()
        await one.look()
        assert nodes(one) == "lead:1 work:2"


@pytest.mark.guarantee("G-43")
async def test_a_tree_that_stands_in_no_stack_loses_nodes_only_by_approval(tmp_path: Path) -> None:
    async with fleet_dir(tmp_path, mark=False) as one:
        one.write("tree.yaml", tree("lead", "web!"))
        await one.look()
        one.write("tree.yaml", tree("lead"))
        await one.settle()
        assert nodes(one) == "lead:1 web:1"
        assert "no `.reconciler.yaml`" in one.blocked()[""]
        await one.approve()
        await one.look()
        assert nodes(one) == "lead:1"
        item = one.engine.table.get(Key("VMTree", "default", "prod"))
        assert item is not None
        assert item.obj.annotations["fleet.vers.sh/delete-confirmed"], "what is protected in it was listed as such, and approved"


# --- one source, drift ----------------------------------------------------------------------------------------------------------


@pytest.mark.guarantee("G-40")
async def test_what_another_file_still_declares_is_refused_naming_it(tmp_path: Path) -> None:
    async with fleet_dir(tmp_path) as one:
        await three(one)
        elsewhere = tmp_path / "elsewhere.yaml"
        elsewhere.write_text(profile("b", "/root/else"))
        found = one.scanner.scan([elsewhere])
        await one.sync.round(found)
        (finding,) = one.sync.findings
        assert f"({one.root}/b.yaml:1)" in finding.message
        assert "/root/work" in str(one.spec("BootProfile", "b"))
        (one.root / "b.yaml").unlink()
        await one.sync.round(found)
        assert one.sync.findings == ()
        assert "/root/else" in str(one.spec("BootProfile", "b"))


@pytest.mark.parametrize(("policy", "back"), [("Report", False), ("Revert", True)])
async def test_what_was_changed_elsewhere_is_reported_or_reverted_as_declared(tmp_path: Path, policy: str, back: bool) -> None:
    async with fleet_dir(tmp_path, onDrift=policy) as one:
        await three(one)
        other = {"extends": {"name": "full"}}
        await one.engine.declarations.patch_spec(BP, lambda _: dict(other), "file")
        await one.look()
        assert (one.spec("BootProfile", "b") != other) is back
        assert any("changed elsewhere" in line for line in one.told)
        assert one.engine.table.flawed == {}, "its declaration is good"
        one.write("b.yaml", profile("b", "/root/long"))
        await one.look()
        assert "/root/long" in str(one.spec("BootProfile", "b")), "what is declared anew is no drift"


# --- followed -------------------------------------------------------------------------------------------------------------------


async def test_a_follower_looks_again_by_itself_and_acts_on_an_approval_at_once(tmp_path: Path) -> None:
    """Without events of files: what is absent is deleted in time, long before the next round that is due anyway."""
    async with fleet_dir(tmp_path, maxDelete=0) as one:
        await three(one)
        (one.root / "b.yaml").unlink()
        source = FileSource([one.root], "default", one.sync, one.engine)
        follower = Follower(source, one.told.append, Supervisor())
        task = asyncio.create_task(follower.run())
        try:
            async with asyncio.timeout(60):
                while not follower.current():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                assert one.sync.look_again is not None
                one.now = 9.999  # the next look is a moment later than what it waits for
                source._looks_again(0.0)
                one.now = 20.0
                while not one.blocked():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
                await one.approve()
                while "b" in one.known():  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def test_a_changed_file_is_in_force_before_everything_is_looked_at_and_only_when_that_can_lose_nothing(tmp_path: Path) -> None:
    async with fleet_dir(tmp_path, maxDelete=5) as one:
        await three(one)
        one.write("tree.yaml", tree("lead", "web"))
        source = FileSource([one.root], "default", one.sync, one.engine)
        await source.apply(await source.scan())
        for text, name, changed in (
            (profile("b", "/root/else"), "b.yaml", True),
            (profile("b", "/root/half").replace("workDir", "workDri"), "b.yaml", False),
            (profile("b", "/root/half") + "---\n" + profile("more"), "b.yaml", False),
            ("", "b.yaml", False),
            (tree("lead"), "tree.yaml", False),
        ):
            one.write(name, text)
            before = (one.spec("BootProfile", "b"), one.spec("VMTree", "prod"), one.known())
            assert source._last is not None
            await one.sync.ahead(source._scanner.again(str(one.root / name), source._last), source._last)
            after = (one.spec("BootProfile", "b"), one.spec("VMTree", "prod"), one.known())
            assert (before != after) is changed, (name, text)
        assert "/root/else" in str(one.spec("BootProfile", "b"))


@pytest.mark.guarantee("G-43")
async def test_a_mounted_config_map_is_a_stack_whose_swap_loses_nothing(tmp_path: Path) -> None:
    """As the kubelet does it: another directory, one link renamed over the other, the old directory removed."""
    async with fleet_dir(tmp_path, mark=False) as one:

        def mount(version: str, *names: str) -> None:
            folder = one.root / f"..{version}"
            folder.mkdir()
            (folder / ".reconciler.yaml").write_text(marker())
            for name in names:
                (folder / f"{name}.yaml").write_text(profile(name))
            old = (one.root / "..data").resolve() if (one.root / "..data").exists() else None
            (one.root / "..tmp").symlink_to(folder.name)
            (one.root / "..tmp").rename(one.root / "..data")
            for name in (".reconciler", *names):
                if not (one.root / f"{name}.yaml").is_symlink():
                    (one.root / f"{name}.yaml").symlink_to(f"..data/{name}.yaml")
            for link in one.root.glob("*.yaml"):
                if not link.exists():
                    link.unlink()
            if old is not None:
                shutil.rmtree(old)

        mount("first", "a", "b", "c")
        await one.look()
        assert one.known() == ALL
        mount("second", "a", "b", "c")
        await one.settle()
        assert one.known() == ALL
        mount("third", "a", "c")
        await one.look()
        assert one.known() == ALL
        await one.look(10)
        assert one.known() == {"a", "c"}


@pytest.mark.guarantee("G-43")
async def test_what_is_kept_because_its_deletion_is_blocked_says_so_until_it_is_declared_again(tmp_path: Path) -> None:
    def told(one: FleetDir) -> str:
        item = one.engine.table.get(BP)
        assert item is not None
        return str(condition_of(item.obj.status, "PruneBlocked").get("message", ""))

    async def until(holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(60):
            while not holds():  # noqa: ASYNC110  # the loop looks at it in its own time
                await asyncio.sleep(0.01)

    async with fleet_dir(tmp_path, maxDelete=0) as one:
        await three(one)
        (one.root / "b.yaml").unlink()
        await one.settle()
        await until(lambda: f"--approve {one.hash()}" in told(one))
        assert "not declared any more" in told(one)
        assert "`maxDelete` allows 0 at once" in told(one)
        kept = one.engine.table.get(Key("BootProfile", "default", "a"))
        assert kept is not None
        assert condition_of(kept.obj.status, "PruneBlocked") == {}
        one.write("b.yaml", profile("b"))
        await one.look(1)
        await until(lambda: told(one) == "")


@pytest.mark.guarantee("G-43")
async def test_a_look_from_before_a_command_took_a_node_out_does_not_bring_it_back(tmp_path: Path) -> None:
    async with fleet_dir(tmp_path, prune=False, onDrift="Revert") as one:
        one.write("t.yaml", tree("lead", "extra"))
        await one.look()
        before = one.scanner.scan([one.root])
        item = one.engine.table.get(Key("VMTree", "default", "prod"))
        assert item is not None
        file = edit_by(item.obj, lambda obj: removing(obj, "extra", False).changes)
        commands = Commands(one.engine.declarations, still_in_file, _nothing, _nothing, _nothing, spec_in_file)
        asked: Json = {"op": "remove", "kind": "VMTree", "namespace": "default", "name": "prod", "node": "extra", "nodes": ["extra"]}
        assert await commands.handle({**asked, "verbs": {}}) == {"ok": "configured"}
        await one.sync.round(before)
        assert [node["name"] for node in one.spec("VMTree", "prod")["nodes"]] == ["lead"]  # type: ignore[index,union-attr,attr-defined]
        await one.settle()
        assert [node["name"] for node in one.spec("VMTree", "prod")["nodes"]] == ["lead"]  # type: ignore[index,union-attr,attr-defined]
        assert one.blocked() == {}
        assert "extra" not in file.read_text()


async def _nothing(*_: object) -> Json:
    raise AssertionError("nothing asks for that here")
