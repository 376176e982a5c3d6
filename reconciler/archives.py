"""Archives that somebody else made."""

from __future__ import annotations

import os
import tarfile
from pathlib import Path


def unpack(archive: tarfile.TarFile, target: Path) -> None:
    """Files and directories, and nothing outside of `target`: as the filter `data` has it, which Python has since 3.11.4; an earlier one
    takes no links. Raises `tarfile.TarError` for anything else."""
    if hasattr(tarfile, "data_filter"):
        archive.extractall(target, filter="data")
        return
    for member in archive:
        inside = not os.path.isabs(member.name) and ".." not in Path(member.name).parts
        if not inside or not (member.isreg() or member.isdir()):
            raise tarfile.TarError(f"{member.name!r} is no file inside of it")
        member.mode = (member.mode | 0o600) & 0o755 if member.isreg() else 0o755
        archive.extract(member, target, set_attrs=True, numeric_owner=False)
