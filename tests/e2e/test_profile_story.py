"""A profile on real machines with real pi: steps that fail and hang, organs, secrets of several lines, skills, and a new machine
that goes on with the conversation of the old one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.background import Platform, eventually
from tests.program import Program

pytestmark = [pytest.mark.real("pi"), pytest.mark.real("bwrap"), pytest.mark.slow]

SECRET = "first line of it\nsecond-line-of-it"
SPEC = """apiVersion: fleet.vers.sh/v1alpha1
kind: BootProfile
metadata: {{name: scripted}}
spec:
  extends: {{name: lightweight}}
  organs: [cron]
  env:
  - {{name: TWO_LINES, valueFrom: {{secretKeyRef: {{name: s, key: k}}}}}}
  files:
  - {{path: key.pem, valueFrom: {{secretKeyRef: {{name: s, key: k}}}}, mode: "0600"}}
  - {{path: skills/mine/SKILL.md, content: "---\\nname: mine\\ndescription: Mine. Use never.\\n---\\nnothing\\n"}}
  steps:
  - name: second-time
    run: |
      set -eu
      printf '%s' "$TWO_LINES" | cmp - key.pem
      [ -f tried ] || {{ touch tried; echo "the first time fails" >&2; exit 7; }}
      echo fine {note}
    retries: 2
  - name: hangs-once
    run: |
      [ ! -f hung ] || exit 0
      touch hung
      sleep 987 &
      sleep 987
    timeoutSeconds: 2
    retries: 1
  verify:
  - {{name: no-sleeper, command: [sh, -c, "! grep -lz '^987$' /proc/[0-9]*/cmdline 2>/dev/null | grep -q ."]}}
  - {{name: owner-only, command: [stat, -c, "%a", key.pem], expect: {{stdout: "600"}}}}
  agent:
    skills: [skills/mine]
    model: {{provider: scripted, id: scripted}}
    providers:
    - {{name: scripted, baseUrl: "{url}", api: openai-completions}}
"""
LIEUTENANT = """apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: api}
spec:
  role: Build it
  profileRef: {name: scripted}
  update: {onProfileChange: Recreate}
"""


@pytest.mark.timeout(400)
@pytest.mark.guarantee("G-27")
@pytest.mark.guarantee("G-32")
@pytest.mark.guarantee("G-44")
@pytest.mark.guarantee("G-60")
def test_a_profile_from_its_first_step_to_its_next_form(real: Platform, reconciler: Program) -> None:
    specs = reconciler.folder / "specs"
    (specs / "profile.yaml").write_text(SPEC.format(url=real.model.url, note="one"))
    (specs / "api.yaml").write_text(LIEUTENANT)
    reconciler.env["RECONCILER_SECRET_S_K"] = SECRET

    def status() -> Any:
        return reconciler.json("get", "lt", "api")["status"]

    with reconciler.controller("specs") as controller:
        reconciler.comes("lieutenant/api", "--for", "Ready", "--timeout", "120", seconds=150)
        first = status()
        steps = {step["name"]: step for step in first["boot"]["steps"]}
        assert (steps["second-time"]["tries"], steps["second-time"]["outputTail"]) == (2, "fine one")
        assert steps["hangs-once"]["tries"] == 2
        assert steps["no-sleeper"]["state"] == "Succeeded", "what a step left behind at its time limit is ended with it"
        assert {organ["name"]: organ["state"] for organ in first["boot"]["organs"]} == {"store": "Verified", "cron": "Verified"}

        said = reconciler("send", "api", 'Remember <<<[{"say":"the word is heron"}]>>>', "--wait")
        assert said.strip() == "the word is heron"

        (specs / "profile.yaml").write_text(SPEC.format(url=real.model.url, note="two"))
        eventually(lambda: first["vm"]["id"] not in real.present(), "the outdated machine is gone", 120)
        reconciler("wait", "lieutenant/api", "--for", "Ready", "--timeout", "120", seconds=150)
        eventually(lambda: status().get("boot", {}).get("outdated") is False, "the new one is as declared", 60)
        second = status()
        assert second["vm"]["id"] != first["vm"]["id"]
        assert len(real.present()) == 1
        assert second["agent"]["sessionId"] == first["agent"]["sessionId"]
        assert "heron" in reconciler("output", "api", "--history", "5")
        for told in (controller.said, reconciler("describe", "lt", "api"), reconciler("events")):
            assert "second-line-of-it" not in told
