"""A disk that is really full: what the keeper can't write is told as such, leaves the old file, and takes no room (G-65)."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from keeper_rig import real_tools

import reconciler.agent
from reconciler.agent.protocol import error_of
from reconciler.core.lasterror import last_error_of

pytestmark = pytest.mark.real("bwrap")

MACHINE = Path(reconciler.agent.__file__).parent / "keeper" / "machine.mjs"
SCRIPT = """
const fs = await import("node:fs");
const { writeFiles } = await import(process.argv[2]);
fs.writeFileSync("/mnt/kept", "old");
const said = [];
for (const upload of ["1", "2", "3"]) {
  const data = Buffer.alloc(700000).toString("base64");
  try {
    writeFiles([0, 700000].map((offset) => ({ path: "/mnt/kept", mode: 0o600, data, upload, offset, done: offset > 0 })), "/mnt");
  } catch (error) {
    said.push(error.message);
  }
}
const small = { path: "/mnt/small", mode: 0o600, data: process.argv[3], upload: "4", offset: 0, done: true };
writeFiles([small], "/mnt");
const read = (name) => fs.readFileSync(`/mnt/${name}`, "utf8");
console.log(JSON.stringify({ said, left: fs.readdirSync("/mnt").sort(), kept: read("kept"), small: read("small") }));
"""


@pytest.mark.guarantee("G-65")
def test_what_finds_no_room_is_told_and_takes_none(tmp_path: Path) -> None:
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        pytest.skip("missing: bwrap (Debian: apt-get install bubblewrap)")
    script = tmp_path / "full.mjs"
    script.write_text(SCRIPT)
    command = [bwrap, "--dev-bind", "/", "/", "--size", str(1 << 20), "--tmpfs", "/mnt", "--bind", str(tmp_path), str(tmp_path), "--"]
    small = base64.b64encode(b"there is room for this").decode()
    ran = subprocess.run(
        [*command, str(real_tools().node), str(script), MACHINE.as_uri(), small], capture_output=True, text=True, check=True, timeout=60
    )
    found = json.loads(ran.stdout)
    assert len(found["said"]) == 3
    assert found["left"] == ["kept", "small"], "half-written files would add up"
    assert (found["kept"], found["small"]) == ("old", "there is room for this")
    told = error_of({"code": "System", "message": found["said"][0]}, "vm")
    assert last_error_of(told).reason == "DiskFull"
