"""`python -m tests.kube.image`: the image is built, small, and its operator works: on a base made of Debian's packages, by buildah, without
a container engine and without namespaces; the operator runs in the image's root file system, as its user, against a real API server. Needs
root, buildah and mmdebstrap."""

from __future__ import annotations

import json
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
from pathlib import Path

from reconciler.vers.simulator.service import SimulatorConfig
from tests.background import eventually, platform
from tests.kube.assets import ROOT, find
from tests.kube.controlplane import running

MOST = 300_000_000
"""Bytes that the files of the image may have."""
USER = 10001
STRIPPED = [f"--dpkgopt=path-exclude=/usr/share/{name}/*" for name in ("doc", "info", "locale", "man")]
PACKAGES = "python3,python3-venv,ca-certificates,passwd"
NEEDED = ("buildah", "chroot", "mmdebstrap")


class Builder:
    """buildah, with everything it keeps in one directory."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def __call__(self, *words: str) -> str:
        own = ["--root", str(self._home / "store"), "--runroot", str(self._home / "run"), "--storage-driver", "vfs"]
        return run(["buildah", *own, *words])


def run(argv: list[str]) -> str:
    """Its stdout. Raises `RuntimeError` with the end of what it said."""
    done = subprocess.run(argv, cwd=ROOT, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(argv)}: exit {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done.stdout.strip()


def built(home: Path) -> Path:
    """The root file system of the image, made by the Containerfile."""
    build, base = Builder(home), home / "base.tar"
    run(["mmdebstrap", "--quiet", "--variant=essential", f"--include={PACKAGES}", *STRIPPED, "bookworm", str(base)])
    container = build("from", "scratch")
    build("add", "--quiet", container, str(base), "/")
    build("commit", "--quiet", "--rm", container, "localhost/base")
    base.unlink()
    words = ["--quiet", "--isolation", "chroot", "--build-arg", "BASE=localhost/base", "--tag", "reconciler"]
    if authorities := ssl.get_default_verify_paths().cafile:  # this host's: there may be a proxy between it and the package index
        words += ["--volume", f"{authorities}:/etc/ssl/certs/ca-certificates.crt:ro"]
    build("bud", *words, str(ROOT))
    told = json.loads(build("inspect", "--type", "image", "reconciler"))["OCIv1"]["config"]
    assert told["Entrypoint"] == ["reconciler"], told
    return Path(build("mount", build("from", "reconciler")))


def size_of(root: Path) -> int:
    """Bytes of its files."""
    return int(run(["du", "-s", "--bytes", str(root)]).split()[0])


def works(root: Path, home: Path) -> None:
    """The operator of the image begins, makes a lieutenant's machine, and ends in order."""
    state = root / "var" / "lib" / "reconciler"
    assert (state.stat().st_uid, state.stat().st_mode & 0o777) == (USER, 0o700)
    with platform(SimulatorConfig(guests="stub")) as stub, running(find(os.environ)) as plane:
        plane.install_crds()
        plane.install_rbac()
        team = plane.namespace("team")
        for file in (plane.ca, plane.operator.kubeconfig):
            shutil.copy(file, root / "tmp")
        config = root / "tmp" / plane.operator.kubeconfig.name
        config.write_text(config.read_text("utf-8").replace(str(plane.ca), f"/tmp/{plane.ca.name}"), "utf-8")
        for file in (config, root / "tmp" / plane.ca.name):
            os.chown(file, USER, USER)
        env = {"PATH": "/opt/reconciler/bin:/usr/bin:/bin", "HOME": "/tmp", "RECONCILER_STATE": "/var/lib/reconciler"}
        env |= {"KUBECONFIG": f"/tmp/{config.name}", "RECONCILER_SETTLE_SECONDS": "1", **stub.endpoints.environment()}
        log = home / "operator.log"
        argv = [shutil.which("chroot") or "chroot", f"--userspec={USER}:{USER}", str(root), "reconciler", "operator", "--namespace", "team"]
        with log.open("wb") as out, subprocess.Popen(argv, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=out) as operator:
            try:
                eventually(lambda: "in charge of team" in log.read_text("utf-8"), "the operator begins")
                team.kubectl("apply", "-f", str(ROOT / "examples" / "suspended.yaml"))
                team.kubectl("wait", "lt/sleeper", "--for=condition=Ready", "--timeout=60s", seconds=70)
                assert len(stub.ever()) <= 1
            finally:
                operator.terminate()
                ended = operator.wait(10)
                said = log.read_text("utf-8")
        assert ended == 0, said
        assert "Traceback" not in said, said


def main() -> int:
    lacking = [name for name in NEEDED if shutil.which(name) is None]
    if lacking or os.geteuid() != 0:
        print(f"error: {'missing: ' + ', '.join(lacking) if lacking else 'only root can do this'}", file=sys.stderr)
        return 1
    with tempfile.TemporaryDirectory(dir="/var/tmp", prefix="reconciler-image-", ignore_cleanup_errors=True) as made:
        home = Path(made)
        root = built(home)
        size = size_of(root)
        print(f"the image has {size // 10**6} MB", flush=True)
        assert size < MOST, f"more than {MOST // 10**6} MB"
        works(root, home)
        print("its operator began, made what was declared, and ended in order")
    return 0


if __name__ == "__main__":
    sys.exit(main())
