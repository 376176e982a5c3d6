"""The page of an operator, in a real Chromium, over a real API server: what it shows, and what is changed on it with the token."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.async_api import Browser

from reconciler.vers.simulator.service import SimulatorConfig
from tests.background import platform
from tests.kube.controlplane import OPERATOR, Namespace
from tests.kube.operating import Person
from tests.kube.test_operator_trees import tree
from tests.program import Program
from tests.serve.browser import Tab, chromium, needs_chromium, tab
from tests.serve.rig import TOKEN

pytestmark = [pytest.mark.real("kube"), pytest.mark.slow, needs_chromium]

SLEEPER = """
apiVersion: fleet.vers.sh/v1alpha1
kind: Lieutenant
metadata: {name: %s}
spec: {role: Rest, profileRef: {name: lightweight}, mode: Suspended}
"""
NODES: list[dict[str, object]] = [
    {"name": "db", "category": "Resource", "profileRef": {"name": "lightweight"}},
    {"name": "lead", "category": "Lieutenant", "parent": "db", "profileRef": {"name": "lightweight"}, "lieutenant": {"role": "Lead"}},
]


@dataclass
class Operated:
    """An operator that is in charge of a namespace, and listens."""

    port: int
    person: Person

    async def mode(self, kind: str, name: str) -> object:
        return (await self.person.get(kind, name))["spec"].get("mode")


@pytest.fixture
def program(tmp_path: Path, cluster: Namespace) -> Iterator[Program]:
    kubeconfig = cluster.inside(cluster.plane.operator).kubeconfig
    with platform(SimulatorConfig(guests="stub")) as simulated:
        env = {**simulated.endpoints.environment(), "KUBECONFIG": str(kubeconfig), "RECONCILER_HTTP_TOKEN": TOKEN}
        yield Program(tmp_path, env, warm=True)


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as found:
        yield found


def listening(program: Program, cluster: Namespace, *words: str) -> Iterator[Operated]:
    for text in (SLEEPER % "ada", tree(NODES, mode="Suspended")):
        cluster.apply(text)
    with program.operator("--namespace", cluster.name, "--listen", "127.0.0.1:0", *words) as operator:
        operator.says("in charge of")
        port = re.search(r"listening on 127\.0\.0\.1:(\d+)", operator.said)
        assert port is not None
        cluster.kubectl("wait", "lt/ada", "vmt/prod", "lt/prod-lead", "--for=condition=Ready", "--timeout=60s")
        yield Operated(int(port[1]), Person(cluster))
        assert operator.stop() == 0


@pytest.fixture
def acting(program: Program, cluster: Namespace) -> Iterator[Operated]:
    """One whose page may change what the cluster declares."""
    yield from listening(program, cluster, "--page-acts")


@pytest.fixture
def showing(program: Program, cluster: Namespace) -> Iterator[Operated]:
    yield from listening(program, cluster)


async def follows(shown: Tab) -> None:
    await shown.page.wait_for_function("() => document.getElementById('connection').textContent === 'live'")


@pytest.mark.guarantee("G-64")
async def test_fleet_tree_and_lieutenant_are_shown_and_follow_the_cluster(showing: Operated, browser: Browser) -> None:
    async with tab(browser, showing) as shown:
        page, ns = shown.page, showing.person.cluster.name
        await shown.sign_in()
        await shown.open("/")
        await page.wait_for_selector(f"tr#r-Lieutenant-{ns}-ada .standing.asleep")
        assert await page.locator(f"tr#r-VMTree-{ns}-prod").count() == 1
        await follows(shown)
        await showing.person.apply(SLEEPER % "bob")
        await page.wait_for_selector(f"tr#r-Lieutenant-{ns}-bob .standing.asleep")
        await shown.open(f"/trees/{ns}/prod")
        for name in ("db", "lead"):
            assert await page.locator(f"#branch >> text={name}").count() >= 1
        await shown.open(f"/lieutenants/{ns}/ada")
        assert await page.locator("h1").inner_text() == "ada"
        assert await page.locator("#prompt").count() == 0
        assert await page.locator("text=is changed there").count() == 1
        assert shown.wrong == []


@pytest.mark.guarantee("G-64")
async def test_what_is_done_on_the_page_is_declared_in_the_cluster(acting: Operated, browser: Browser) -> None:
    person = acting.person
    bound = ("--clusterrole=reconciler-page", f"--user={OPERATOR}")
    async with tab(browser, acting) as shown:
        page, ns = shown.page, person.cluster.name
        await shown.open(f"/lieutenants/{ns}/ada")
        assert await page.locator("#prompt").count() == 0, "without the token it is read only"
        await shown.sign_in()
        await shown.open(f"/lieutenants/{ns}/ada")
        await page.click("button:text-is('Resume')")
        await page.wait_for_selector("text=ada: declared Running")
        assert await acting.mode("lt", "ada") == "Running"
        await page.click("button:text-is('Suspend')")
        await page.wait_for_selector("text=ada: declared Suspended")
        found = await person.get("lt", "ada")
        assert found["spec"]["mode"] == "Suspended"
        fields = {entry["manager"]: entry["fieldsV1"].get("f:spec") for entry in found["metadata"]["managedFields"]}
        assert fields["reconciler-page"] == {"f:mode": {}}, "it declares what was changed there, and nothing else"

        await page.fill("#prompt", "Write <b>it</b> down")
        await page.click("text=Send")
        await page.wait_for_selector("text=give the operator the ClusterRole reconciler-page")
        await person.kubectl("create", "rolebinding", "page", *bound)
        await shown.open(f"/lieutenants/{ns}/ada")
        await page.fill("#prompt", "Write <b>it</b> down")
        await page.click("text=Send")
        await page.wait_for_selector("text=ada: sent")
        (made,) = await person.list("ltask")
        assert made["spec"] == {**made["spec"], "prompt": "Write <b>it</b> down", "lieutenantRef": {"name": "ada"}}
        await page.wait_for_selector(f"#tasks >> text={made['metadata']['name']}")
        await shown.open(f"/tasks/{ns}/{made['metadata']['name']}")
        await page.click("button:text-is('Cancel')")
        await page.wait_for_selector("text=: cancelled")
        await person.kubectl("wait", f"ltask/{made['metadata']['name']}", "--for=jsonpath={.status.phase}=Cancelled", "--timeout=60s")

        await shown.open(f"/trees/{ns}/prod")
        await page.click("button:text-is('Resume')")
        await page.wait_for_selector("text=prod: declared Running")
        assert await acting.mode("vmt", "prod") == "Running"
        assert [line for line in shown.wrong if "502" not in line] == [], "one was refused"


def test_it_is_asked_for(program: Program) -> None:
    wrong = program.full("operator", "--namespace", "default", "--page-acts")
    assert (wrong.returncode, "--page-acts goes with --listen" in wrong.stderr) == (64, True)
