"""Which key, which API and which way to a VM: read from the environment and the user's files at every request.

A corrected key or URL takes effect with the next call, with no restart (cli.md, Conventions). Reading is cheap: with the key in
the environment no file is touched, otherwise a file is parsed again only when its stat changed. Order (vers-api §1.3):

    key   VERS_API_KEY, ~/.vers/keys.json `.keys.VERS_API_KEY`, ~/.vers/config.json `.versApiKey` or `.api_key`, ~/.versrc `.apiKey`
    URL   VERS_BASE_URL, VERS_URL, https://api.vers.sh      (with or without `/api/v1`)
    VM    RECONCILER_VM_DOMAIN, RECONCILER_VM_GATEWAY, RECONCILER_VM_CA
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import orjson
from pydantic import SecretStr

from reconciler.engine.ports import Json, JsonValue
from reconciler.errors import NotSent, Unauthorized, Unreachable

DEFAULT_URL = "https://api.vers.sh"
DEFAULT_VM_DOMAIN = "vm.vers.sh"
PREFIX = "/api/v1"

_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SENDABLE = re.compile(r"[\x21-\x7e]+")
_HOSTNAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?")


def is_uuid(text: str) -> bool:
    """Whether `text` is one full UUID and nothing else (the only thing ever put into a path)."""
    return _UUID.fullmatch(text) is not None


@dataclass(frozen=True, slots=True)
class Access:
    """What one request needs. `url`: the API with its prefix, no trailing slash. `key`: secret."""

    url: str
    key: SecretStr


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How one VM is dialled (vers-api §4): TCP to `host`:`port`, TLS with `sni`; `ca`: PEM file to verify against, '' = not verified."""

    sni: str
    host: str
    port: int
    ca: str = ""


class Settings:
    """Resolves key, URL and VM access anew at each call. `env` defaults to this process's, `home` to its HOME."""

    def __init__(self, env: Mapping[str, str] | None = None, home: Path | None = None) -> None:
        self._env: Mapping[str, str] = os.environ if env is None else env
        self._home = home
        self._files: dict[str, tuple[tuple[int, int, int], SecretStr | None]] = {}
        self._urls: dict[str, str] = {}

    def access(self) -> Access:
        """URL and key. Raises `Unauthorized` when there is no usable key, `NotSent` when the URL is none."""
        url = self.url()
        key, where = self._key()
        if key is None:
            remedy = "set VERS_API_KEY or write it to ~/.vers/keys.json; `reconciler simulate` needs none"
            raise Unauthorized("there is no Vers API key", where, remedy)
        if not _SENDABLE.fullmatch(key.get_secret_value()):
            raise Unauthorized("the Vers API key has characters that no key has", where, "copy the key again, without blanks or line ends")
        return Access(url, key)

    def account(self) -> str:
        """Public id of the current key's account: its first 36 characters (vers-api §1.2), '' without a usable key.

        A key of another form is named by a digest, so that nothing of it shows."""
        try:
            value = self.access().key.get_secret_value()
        except (Unauthorized, Unreachable):
            return ""  # told by every call that needs the key
        head = value[:36]
        if is_uuid(head):
            return head
        return "key-" + hashlib.sha256(value.encode()).hexdigest()[:32]

    def key_source(self) -> str:
        """Where the key comes from, a variable or a file; '' when there is none. Raises `Unauthorized` when a file can't be read."""
        return self._key()[1]

    def url(self) -> str:
        """The API's URL, ending in `/api/v1`. Raises `NotSent` when it is not an http(s) URL."""
        for name in ("VERS_BASE_URL", "VERS_URL"):
            raw = self._env.get(name, "").strip()
            if raw:
                return self._urls.get(raw) or self._normal(name, raw)
        return DEFAULT_URL + PREFIX

    def endpoint(self, vm_id: str) -> Endpoint:
        """How to dial the VM. Raises `Unreachable` when a setting of ours is wrong or `vm_id` is no full UUID."""
        if not is_uuid(vm_id):
            raise Unreachable("a VM is dialled by its full id", repr(vm_id), "use the 36-character id")
        sni = f"{vm_id}.{self._domain()}"
        ca = self._env.get("RECONCILER_VM_CA", "").strip()
        gateway = self._env.get("RECONCILER_VM_GATEWAY", "").strip()
        if not gateway:
            return Endpoint(sni, sni, 443, ca)
        host, _, port = gateway.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            raise Unreachable("the VM gateway is not HOST:PORT", "RECONCILER_VM_GATEWAY", "give it as host:port")
        return Endpoint(sni, host, int(port), ca)

    def _domain(self) -> str:
        """RECONCILER_VM_DOMAIN, or the rule of vers-api §1.1: `api.X` has its VMs under `vm.X`, anything else under vm.vers.sh."""
        domain = self._env.get("RECONCILER_VM_DOMAIN", "").strip().strip(".")
        if domain:
            if not _HOSTNAME.fullmatch(domain):
                raise Unreachable("the VM domain is not a host name", "RECONCILER_VM_DOMAIN", "give it as a plain domain, e.g. vm.vers.sh")
            return domain
        host = urlsplit(self.url()).hostname or ""
        return f"vm.{host.removeprefix('api.')}" if host.startswith("api.") else DEFAULT_VM_DOMAIN

    def _normal(self, name: str, raw: str) -> str:
        remedy = f"set {name} to the API's address, e.g. {DEFAULT_URL}"
        try:
            parts = urlsplit(raw)
            usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError:
            usable = False
        if not usable:
            raise NotSent("the address of the Vers API is not an http or https URL", name, remedy)
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            # Credentials in a URL would show up in logs and replace the key.
            raise NotSent("the address of the Vers API has more than host and path", name, remedy)
        path = parts.path.rstrip("/")
        url = f"{parts.scheme}://{parts.netloc}{path if path.endswith(PREFIX) else path + PREFIX}"
        self._urls = {raw: url}
        return url

    def _key(self) -> tuple[SecretStr | None, str]:
        value = self._env.get("VERS_API_KEY", "").strip()
        if value:
            return SecretStr(value), "VERS_API_KEY"
        home = self._home or Path(self._env.get("HOME") or Path.home())
        for relative, pick in _FILES:
            path = home / relative
            key = self._from_file(path, pick)
            if key is not None:
                return key, str(path)
        return None, ""

    def _from_file(self, path: Path, pick: Callable[[Json], JsonValue]) -> SecretStr | None:
        name = str(path)
        try:
            stat = os.stat(name)
            seen = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
            known = self._files.get(name)
            if known is not None and known[0] == seen:
                return known[1]
            parsed: JsonValue = orjson.loads(path.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise Unauthorized("the file with the Vers API key can't be read", name, error.strerror or "check its permissions") from None
        except orjson.JSONDecodeError:
            # The decoder's own error carries the document, key and all. Going on to the next file could act for another account.
            raise Unauthorized("the file with the Vers API key is not JSON", name, "correct it, or set VERS_API_KEY") from None
        value = pick(parsed) if isinstance(parsed, dict) else None
        key = SecretStr(value.strip()) if isinstance(value, str) and value.strip() else None
        self._files[name] = (seen, key)
        return key


def _keys_json(document: Json) -> JsonValue:
    keys = document.get("keys")
    return keys.get("VERS_API_KEY") if isinstance(keys, dict) else None


def _config_json(document: Json) -> JsonValue:
    return document.get("versApiKey") or document.get("api_key")


def _versrc(document: Json) -> JsonValue:
    return document.get("apiKey")


_FILES: tuple[tuple[str, Callable[[Json], JsonValue]], ...] = (
    (".vers/keys.json", _keys_json),
    (".vers/config.json", _config_json),
    (".versrc", _versrc),
)
