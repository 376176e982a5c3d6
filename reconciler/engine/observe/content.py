"""Content that stands outside of a declaration: in a key of a Secret or of a ConfigMap (design §3)."""

from __future__ import annotations

from typing import Literal

from reconciler.api.meta import ContentSource
from reconciler.core.keys import Key
from reconciler.core.snapshot.rendered import RenderedFile, SecretRef
from reconciler.engine.credentials import Credentials
from reconciler.engine.ports import Secrets


def content_of(source: ContentSource, namespace: str, secrets: Secrets) -> str | None:
    """The content, None when it is not there. Raises what the secrets raise when it is there and can't be read."""
    if source.secret_key_ref is not None:
        return secrets.get(namespace, source.secret_key_ref.name, source.secret_key_ref.key)
    assert source.config_map_key_ref is not None
    return secrets.config(namespace, source.config_map_key_ref.name, source.config_map_key_ref.key)


def unread(source: ContentSource, namespace: str, secrets: Secrets) -> str:
    """Why it may not be read any more; '' while it may."""
    if source.secret_key_ref is not None:
        return secrets.unread("Secret", namespace, source.secret_key_ref.name)
    assert source.config_map_key_ref is not None
    return secrets.unread("ConfigMap", namespace, source.config_map_key_ref.name)


def name_of(source: ContentSource) -> str:
    """What it refers to, in words."""
    ref, kind = (source.secret_key_ref, "secret") if source.secret_key_ref is not None else (source.config_map_key_ref, "config map")
    assert ref is not None
    return f"key {ref.key} of {kind} {ref.name}"


def bytes_of(key: Key, file: RenderedFile, secrets: Credentials) -> bytes | None:
    """The content of a rendered file of this object, its secret looked up now; None when that is missing."""
    if file.secret is None:
        return file.content.encode()
    value = value_of(file.secret, key.namespace, secrets)
    return None if value is None else value.encode()


def value_of(ref: SecretRef, namespace: str, secrets: Credentials) -> str | None:
    """What a rendered reference refers to, looked up now; None when it is not there."""
    if ref.of_host:
        return secrets.value(namespace, ref)
    look = secrets.get if ref.kind == "Secret" else secrets.config
    return look(namespace, ref.name, ref.key)


def missing(ref: SecretRef, namespace: str, secrets: Secrets) -> str:
    """What is not there, in words: the object, or a key in it."""
    what: Literal["Secret", "ConfigMap"] = "Secret" if ref.kind == "Secret" else "ConfigMap"
    if not secrets.holds(what, namespace, ref.name):
        return f"{what} {ref.name} is not in namespace {namespace}; create it with the key {ref.key}"
    return f"{what} {ref.name} in namespace {namespace} has no key {ref.key}; add it"
