"""One lieutenant made as a live copy of another one: it goes on with what that one was told, and disturbs nothing of it (G-33)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler.core.keys import Key
from tests.engine.stage import Stage, tell

COPY = Key("Lieutenant", "default", "copy")


def fork_of(name: str = "api") -> dict[str, object]:
    return {"fork": {"from": {"name": name}}}


@pytest.mark.guarantee("G-33")
def test_a_copy_has_disk_and_conversation_of_its_source_and_both_go_on_apart(tmp_path: Path) -> None:
    async def story(run: Stage) -> None:
        source = await run.ready() if (await run.lieutenant()) else None
        assert source is not None
        await run.ends(await run.task("told", "the release is called Halcyon"))
        source.files["/root/workspace/notes.txt"] = b"of the source"
        before = source.session
        await run.lieutenant("copy", role="Try it another way", **fork_of())
        copy = await run.ready(COPY)
        assert copy is not source
        assert copy.branched_from == source.vm_id
        assert copy.files["/root/workspace/notes.txt"] == b"of the source"
        assert copy.session_file != source.session_file
        mine, theirs = copy.session.partition(b"\n"), before.partition(b"\n")
        assert mine[2] == theirs[2]
        assert json.loads(mine[0])["id"] != json.loads(theirs[0])["id"]
        assert json.loads(mine[0])["parentSession"] == source.session_file
        assert source.session == before
        assert source.pi is not None
        assert copy.pi is not None
        assert copy.pi.launch.launch_hash != source.pi.launch.launch_hash
        await run.ends(await run.task("mine", "only for the copy", to="copy"))
        await run.ends(await run.task("theirs", "only for the source"))
        assert b"only for the copy" in copy.session
        assert b"only for the copy" not in source.session
        assert b"only for the source" not in copy.session
        status = run.status(COPY)
        assert status["forkedFrom"]["name"] == "api"
        assert status["forkedFrom"]["vm"] == source.vm_id
        assert run.condition(COPY, "Forked") == "True"
        assert run.world.created == 2

    tell(tmp_path, story)
