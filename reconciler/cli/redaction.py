"""What may not be printed (G-60)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from reconciler.config import Config
from reconciler.core.keys import JsonValue
from reconciler.engine.ports import Secrets, Store, StoredObject
from reconciler.engine.redaction import stand_ins
from reconciler.log import redact
from reconciler.sources.secrets import FileSecrets
from reconciler.visible import one_line, visible


async def redaction(config: Config, store: Store) -> Redaction:
    """What may not be printed: the platform's key and every secret that a declaration refers to. A cluster was told nothing else."""
    if config.kube:
        return Redaction(FileSecrets(None, {}), (), [config.environ.get("VERS_API_KEY", "")])
    return Redaction(FileSecrets(config.secrets, config.environ), await store.objects(), [config.environ.get("VERS_API_KEY", "")])


class Redaction:
    """Takes the values of every secret that is referred to out of texts (G-60)."""

    def __init__(self, secrets: Secrets, objects: Iterable[StoredObject], more: Iterable[str] = ()) -> None:
        found = {value for value in more if value}
        for obj in objects:
            for name, key in references(obj.spec):
                value = secrets.get(obj.key.namespace, name, key)
                if value:
                    found |= {value, visible(value), one_line(value)}  # the latter as it is shown
        self._values = sorted(found, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for _, stand_in in stand_ins(self._values):  # as the mirror of a conversation has it
            text = text.replace(stand_in.decode("ascii"), "[redacted]")
        return redact(text, self._values)


def references(value: JsonValue) -> Iterator[tuple[str, str]]:
    """Every `secretKeyRef` in a spec, as (name, key)."""
    if isinstance(value, dict):
        reference = value.get("secretKeyRef")
        if isinstance(reference, dict):
            yield str(reference.get("name", "")), str(reference.get("key", ""))
        for inner in value.values():
            yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)
