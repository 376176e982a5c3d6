"""`python -m tests.kube`: a cluster to try things on, gone with Ctrl-C: an API server with our kinds, an operator in it, simulated machines
with real pi, and a scripted model in place of a real one. No pods run in it; the operator is a process beside it."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from reconciler.agent.toolchain import PI_VERSION, cache_dir, find_toolchain, has_pi
from reconciler.cli.demo.quickstart import rules
from reconciler.core.keys import Json
from reconciler.errors import ReconcilerError
from reconciler.vers.simulator.image import GuestImage
from reconciler.vers.simulator.service import SimulatorConfig
from tests.background import Platform, platform
from tests.kube.assets import Missing, find
from tests.kube.controlplane import ControlPlane, running

NAMESPACE = "team"
ROOM = Path("build/kube")
"""Where the files are that another shell needs; README names them."""
BEGIN_SECONDS = 60

PROFILE = """apiVersion: fleet.vers.sh/v1alpha1
kind: BootProfile
metadata: {{name: lightweight, namespace: {namespace}}}
spec:
  source: {{image: default}}
  agent:
    model: {{provider: scripted, id: scripted}}
    providers:
    - {{name: scripted, baseUrl: "{url}", api: openai-completions}}
"""
"""In this namespace in place of the one that is built in, whose model needs a key."""


def script() -> list[tuple[str, list[Json]]]:
    """What the model does for examples/quickstart.yaml: the demo's words, without its change of mind."""
    told = dict(rules())
    users = [told["Add GET /users"][0], told["Use port 8081"][0], {"say": "GET /users answers from users.json."}]
    return [("Add GET /users", users), *((pattern, steps) for pattern, steps in told.items() if pattern != "Add GET /users")]


def told(plane: ControlPlane, room: Path) -> str:
    """What a person needs to go on."""
    return f"""\
# kube-apiserver at {plane.api_url}, with our kinds; an operator serves namespace {NAMESPACE}. No pods run in it. Ctrl-C ends all of it.
# In another shell, in this directory:
. {room}/env.sh
kubectl apply -n {NAMESPACE} -f examples/quickstart.yaml
kubectl wait -n {NAMESPACE} ltask --all --for=jsonpath='{{.status.phase}}'=Succeeded --timeout=5m
# What the operator says: {room}/operator.log
# The model is scripted: it knows examples/quickstart.yaml, says `ok` to all else, and does what a prompt has between <<< and >>>.
# A real model instead: remove the profile that names the scripted one, and give the key as README ("On the real platform") has it in `env`:
#   kubectl delete -n {NAMESPACE} bp/lightweight
#   kubectl create -n {NAMESPACE} secret generic anthropic --from-file=api-key=key.txt
"""


@contextmanager
def served(environ: dict[str, str]) -> Iterator[Platform]:
    """Machines and the model."""
    if not has_pi(environ):
        print(f"# fetching pi {PI_VERSION} into {cache_dir(environ)} (once)", flush=True)
    tools = find_toolchain(environ)
    with platform(SimulatorConfig(guests="isolated", image=GuestImage(tools.node_dir, tools.pi_dir)), script()) as running_platform:
        yield running_platform


@contextmanager
def operator(plane: ControlPlane, env: dict[str, str], room: Path) -> Iterator[subprocess.Popen[bytes]]:
    """With the rights of deploy/cluster/rbac.yaml and no others."""
    words = ["--state", str(plane.home / "state"), "operator", "--namespace", NAMESPACE]
    with (room / "operator.log").open("wb") as log:
        argv = [sys.executable, "-m", "reconciler", *words]
        own = {**os.environ, **env, "KUBECONFIG": str(plane.operator.kubeconfig)}
        process = subprocess.Popen(argv, env=own, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(20)


def begun(process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until it is in charge. Raises `Missing` with its own words when it is not."""
    deadline = time.monotonic() + BEGIN_SECONDS
    while "in charge of" not in (said := log.read_text("utf-8", errors="replace")):
        if process.poll() is not None or time.monotonic() > deadline:
            raise Missing(f"the operator does not begin: {said[-2000:]}")
        time.sleep(0.1)


def main() -> int:
    """Until Ctrl-C or SIGTERM."""
    end = threading.Event()
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, lambda *_: end.set())
    environ = dict(os.environ)
    try:
        with ExitStack() as stack:
            machines = stack.enter_context(served(environ))
            plane = stack.enter_context(running(find(environ)))
            plane.install_crds()
            plane.install_rbac()
            plane.namespace(NAMESPACE)
            plane.kubectl("apply", "-f", "-", stdin=PROFILE.format(namespace=NAMESPACE, url=machines.model.url))
            ROOM.mkdir(parents=True, exist_ok=True)
            env = machines.endpoints.environment()
            process = stack.enter_context(operator(plane, env, ROOM))
            begun(process, ROOM / "operator.log")
            env_file(ROOM / "env.sh", plane, env)
            stack.callback((ROOM / "env.sh").unlink, missing_ok=True)
            print(told(plane, ROOM), flush=True)
            end.wait()
    except (Missing, ReconcilerError) as why:
        print(f"error: {why}", file=sys.stderr)
        return 1
    return 0


def env_file(path: Path, plane: ControlPlane, env: dict[str, str]) -> None:
    """For another shell: who it is, and where the programs are."""
    programs = f"{plane.assets.directory}:{Path(sys.executable).parent}"
    values = {**env, "KUBECONFIG": str(plane.admin.kubeconfig)}
    lines = [*(f"export {name}={shlex.quote(value)}" for name, value in values.items()), f'export PATH={shlex.quote(programs)}:"$PATH"']
    path.unlink(missing_ok=True)
    path.touch(0o600)
    path.write_text("\n".join(lines) + "\n", "utf-8")


if __name__ == "__main__":
    sys.exit(main())
