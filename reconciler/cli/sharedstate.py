"""A state directory that is shared by mistake: with the fleet of another platform, or with that of another folder."""

from __future__ import annotations

from pathlib import Path

from reconciler import paths
from reconciler.cli.where import DEFAULT_PATH
from reconciler.config import Config
from reconciler.core.keys import short
from reconciler.core.records import LieutenantRecord
from reconciler.engine.ports import StoredObject
from reconciler.engine.view import ObjectReader
from reconciler.errors import Refused
from reconciler.sources.files.scan import Scanner


def of_another_account(table: ObjectReader, ours: str, config: Config) -> str:
    """One line where every machine of this state directory is of another account than `ours`; '' where that is not so, or not known."""
    items = [item for key in table.all_keys() if (item := table.get(key)) is not None]
    records = [item.record for item in items if isinstance(item.record, LieutenantRecord)]
    slots = [slot for record in records for slot in record.slots().values() if slot.vm_id]
    accounts = {slot.account for slot in slots}
    if not ours or not accounts or accounts & {ours, ""}:
        return ""
    many = f"{len(slots)} machine{'s' if len(slots) > 1 else ''}"
    return (
        f"warning: the fleet here has {many} of another account of the platform than the key is of ({config.state}): "
        "put the right key back, or give the fleet of this key a state directory of its own (--state DIR)"
    )


def must_be_of_this_folder(obj: StoredObject) -> None:
    """Raises `Refused` where another folder's file declares this object, and ./specs here declares it too: whoever changes it here means
    that one, which is not in force."""
    here, there = paths.real(DEFAULT_PATH), paths.real(Path(obj.origin.rpartition(":")[0]))
    if not isinstance(here, Path) or not isinstance(there, Path) or there.is_relative_to(here):
        return
    found = next((one for one in Scanner(obj.key.namespace).scan([DEFAULT_PATH]).objects if one.key == obj.key), None)
    if found is None or paths.real(Path(found.file)) == there:
        return
    what = f"{short(obj.key)} is in force from another folder, and {found.place} declares it too"
    raise Refused(what, obj.origin, "give the fleet of this folder a state directory of its own (--state DIR), or change it there")
