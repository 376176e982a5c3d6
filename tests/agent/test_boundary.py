"""bubblewrap is put on a machine whose profile declares a sandbox; where it can't be, that is told with what to do."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest

from reconciler.agent import boundary
from reconciler.agent.bootstrap import GuestLayout
from reconciler.agent.host import LocalTransport
from reconciler.agent.transport import FixedScript
from reconciler.core.lasterror import last_error_of
from reconciler.errors import GuestFailed


class Place:
    """A machine with the programs that are named, and an apt-get that says what it was asked where it has one."""

    def __init__(self, folder: Path, *, apt: bool) -> None:
        self.layout, self.asked = GuestLayout(str(folder / "base")), folder / "asked"
        tools = folder / "tools"
        for directory in (tools, folder / "base" / "bin"):
            directory.mkdir(parents=True)
        for name in ("sh", "cat", "touch"):
            (tools / name).symlink_to(shutil.which(name) or name)
        if apt:
            (tools / "apt-get").write_text(
                f'#!/bin/sh\necho "$DEBIAN_FRONTEND $*" >> "{self.asked}"\n[ "$1" = update ] || touch "{folder}/base/bin/bwrap"\n'
            )
            (tools / "apt-get").chmod(0o755)
        self._transport = LocalTransport(env={"PATH": str(tools)})

    async def script(self, script: FixedScript, stdin: bytes, what: str, timeout: float) -> object:
        done = await self._transport.run(FixedScript(script.replace(" /usr/bin /usr/local/bin", "")), stdin, timeout)
        if done.exit_code != 0:
            tail = done.stderr.decode()
            raise GuestFailed(f"{what} failed with exit code {done.exit_code}", "vm", tail, done.exit_code, tail)
        return done

    def told(self) -> list[str]:
        return self.asked.read_text().splitlines() if self.asked.exists() else []


@pytest.mark.guarantee("G-28")
async def test_it_is_installed_once_where_it_is_missing(tmp_path: Path) -> None:
    place = Place(tmp_path, apt=True)
    ensure = partial(boundary.ensure, place.script, place.layout, host=False)
    await ensure()
    assert place.told() == ["noninteractive update -q", "noninteractive install -y -q --no-install-recommends bubblewrap"]
    await ensure()
    assert len(place.told()) == 2


@pytest.mark.guarantee("G-28")
async def test_where_it_can_not_be_installed_the_package_is_named_with_what_to_do(tmp_path: Path) -> None:
    place = Place(tmp_path, apt=False)
    with pytest.raises(GuestFailed) as failed:
        await boundary.ensure(place.script, place.layout, host=False)
    told = last_error_of(failed.value)
    assert told.reason == "SandboxMissing"
    assert "no agent is started" in told.message
    assert "add a step to the profile that installs the package bubblewrap" in told.message
    assert "there is no apt-get" in told.message


@pytest.mark.guarantee("G-28")
async def test_nothing_is_installed_on_the_controllers_own_host(tmp_path: Path) -> None:
    place = Place(tmp_path, apt=True)
    with pytest.raises(GuestFailed) as failed:
        await boundary.ensure(place.script, place.layout, host=True)
    assert "install the package bubblewrap on this host" in failed.value.remedy
    assert place.told() == []
    (tmp_path / "base" / "bin" / "bwrap").touch()
    await boundary.ensure(place.script, place.layout, host=True)
