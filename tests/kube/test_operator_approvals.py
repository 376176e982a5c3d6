"""Tool calls that wait for a person, in a cluster: `approve` and `deny` reach the very call by way of the object (G-28, G-37)."""

from __future__ import annotations

import pytest

from reconciler.core.snapshot.agent import Question
from tests.kube.operating import until
from tests.kube.test_cli_kube import Desk
from tests.kube.test_cli_kube import bare as bare
from tests.kube.test_cli_kube import desk as desk
from tests.kube.test_operator import LIEUTENANT, task

pytestmark = pytest.mark.real("kube")

CAREFUL = LIEUTENANT.replace("{role", '{permissions: {default: Allow, ask: ["bash(touch *)"]}, role')


@pytest.mark.guarantee("G-28", "G-37")
async def test_an_answer_given_in_a_cluster_reaches_the_very_call(desk: Desk) -> None:
    desk.world.work_seconds = 3600.0
    await desk("apply", "--kube", "-f", desk.file("ada.yaml", CAREFUL))
    await desk("wait", "--kube", "lt/ada", "--for", "Ready", "--timeout", "60")
    await desk.person.apply(task("one"))
    await desk("wait", "--kube", "task/one", "--for", "phase=Running", "--timeout", "60")
    (machine,) = desk.world.alive()
    pi = machine.pi
    assert pi is not None
    pi.asks = [
        Question(name, f"bash(touch {name})", f"touch {name}", "bash(touch *)", "Lieutenant", desk.world.now()) for name in ("a1", "b2")
    ]
    await desk("wait", "--kube", "task/one", "--for", "phase=AwaitingApproval", "--timeout", "60")
    assert "bash(touch a1)" in await desk("get", "--kube", "approvals")
    assert "AwaitingApproval" in await desk("get", "--kube", "attention")
    assert "task/one a1 approved" in await desk("approve", "--kube", "one", "a1")
    assert "task/one b2 denied" in await desk("deny", "--kube", "one", "b2", "--reason", "not on a Friday")
    await until(lambda: len(pi.answers) == 2, "both are told to the keeper")
    assert sorted(pi.answers) == [("a1", True, ""), ("b2", False, "not on a Friday")]
    found = (await desk.person.get("ltask", "one"))["spec"]["approvals"]
    assert [(one["id"], one["decision"]) for one in found] == [("a1", "Approve"), ("b2", "Deny")]
    assert "does not exist" in await desk.refused("approve", "--kube", "nothing", code=1)
