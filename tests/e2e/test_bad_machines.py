"""Real machines without room, and ones that pi can't be got onto: told with the reason that a person needs, and got over (G-24, G-32)."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.vers.simulator.image import GuestImage
from reconciler.vers.simulator.knobs import Knobs
from reconciler.vers.simulator.service import SimulatorConfig
from tests.background import eventually, platform
from tests.e2e.chaos import Books
from tests.e2e.conftest import API, PROFILE
from tests.program import Program

pytestmark = [pytest.mark.real("bwrap"), pytest.mark.slow, pytest.mark.timeout(300)]

DAYS = {"DiskFull": Knobs(guest_disk_kib=32), "GuestFailed": Knobs(guest_tools="missing", guest_names="missing")}


@pytest.mark.guarantee("G-24")
@pytest.mark.parametrize("reason", DAYS)
def test_its_cause_is_told_and_a_well_machine_gets_the_work_done(reason: str, image: GuestImage, tmp_path: Path) -> None:
    with platform(SimulatorConfig(guests="isolated", image=image, knobs=DAYS[reason])) as real:
        specs = tmp_path / "specs"
        specs.mkdir()
        (specs / "profile.yaml").write_text(PROFILE.format(url=real.model.url))
        (specs / "api.yaml").write_text(API)
        program = Program(tmp_path, {**real.endpoints.environment(), "RECONCILER_SETTLE_SECONDS": "2", "RECONCILER_RESYNC_SECONDS": "1"})
        with program.controller("specs", name="controller") as controller:
            books = Books(program)

            def met() -> bool:
                items = program.json("get", "lieutenant", "-o", "json")["items"]
                conditions = [c for item in items for c in item.get("status", {}).get("conditions", [])]
                return any(c["type"] == "Ready" and c["reason"] == reason for c in conditions)

            eventually(met, reason, 120)
            assert [name for name, told, _ in books.reasons() if told == reason] == ["api"]
            (poor,) = real.present()
            real.simulator.set_knobs("guest_disk_kib=0", "guest_names=present", "guest_tools=present")
            real.run(real.simulator.do(lambda world: world.kill(poor)))
            assert books.ready("api", 120) != poor
            books.send("one", "api", '<<<[{"say":"done"}]>>>')
            assert books.done("one").answer == "done"
            assert "Traceback" not in controller.said
            assert controller.stop() == 0
