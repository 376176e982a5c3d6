"""What etcd holds when our kinds and roles are installed, made once a run: to install them costs as much as to start an API server.

A server that is started for it leaves a copy to all that need them, those of other workers too. No run uses what another one made, so it is
never older than `crds` and `deploy`."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.kube.assets import Assets, alone
from tests.kube.controlplane import ControlPlane, running


@contextmanager
def with_kinds(assets: Assets, room: Path, flags: Sequence[str] = ()) -> Iterator[ControlPlane]:
    """A server with our kinds and roles. `room`: an existing directory of this run, the same for all its workers."""
    kept = room / "etcd-with-kinds"
    with alone(room / "etcd-with-kinds.lock"):
        if not kept.exists():
            with running(assets) as plane:
                plane.install_crds()
                plane.install_rbac()
                _keep(plane, kept)
    with running(assets, flags, lambda data: copy(kept, data)) as plane:
        plane.await_crds()
        yield plane


def _keep(plane: ControlPlane, target: Path) -> None:
    """Etcd stands still meanwhile: a copy is then what it would find after a crash of its own, for which it is made."""
    whole = target.with_suffix(".part")
    shutil.rmtree(whole, ignore_errors=True)  # of a worker that died over it
    with plane.etcd_at_rest() as data:
        copy(data, whole)
    whole.rename(target)


def copy(source: Path, target: Path) -> None:
    """A data directory of etcd. Its log is 64 MB long and almost empty, and so is the next one, which it has ready under another name and
    makes anew when there is none."""
    shutil.copytree(source, target, copy_function=_copy_written, ignore=shutil.ignore_patterns("*.tmp"))


def _copy_written(source: str, target: str) -> None:
    """A file of the same length, of which only what was ever written takes room."""
    with Path(source).open("rb") as read, Path(target).open("wb") as write:
        size = os.fstat(read.fileno()).st_size
        for begin, end in _written(read.fileno(), size):
            read.seek(begin)
            write.seek(begin)
            write.write(read.read(end - begin))
        write.truncate(size)


def _written(file: int, size: int) -> Iterator[tuple[int, int]]:
    """Where something was written, from and to."""
    end = 0
    while end < size:
        try:
            begin = os.lseek(file, end, os.SEEK_DATA)
        except OSError as why:
            if why.errno != errno.ENXIO:  # a file system that can't tell: all of it
                yield end, size
            return  # else there is nothing more
        end = os.lseek(file, begin, os.SEEK_HOLE)
        yield begin, end
