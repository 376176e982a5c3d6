"""What a profile comes to for one lieutenant, and what of a declaration this release does not act on; made once from each."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from functools import partial
from operator import is_

from reconciler.api.bootprofile import BootProfileSpec
from reconciler.api.governreasons import GovernReason
from reconciler.api.lieutenant import LieutenantSpec
from reconciler.api.meta import Resources
from reconciler.api.reasons import Reason
from reconciler.api.stock import organ_programs, stock_profiles
from reconciler.api.support import unsupported
from reconciler.api.waits import Explained
from reconciler.core.keys import Json, Key, boot_profile
from reconciler.core.profile import bake
from reconciler.core.profile.localize import localized
from reconciler.core.profile.organs import unknown
from reconciler.core.profile.rendering import Flawed, MachinePart, chain_names, machine_part, profile_chain, render, with_secrets
from reconciler.core.snapshot.machine import CommitSource
from reconciler.core.snapshot.rendered import Rendered, SecretRef, Unresolved
from reconciler.core.treerecords import BootProfileRecord
from reconciler.engine.credentials import Absent, Credentials, Recalled
from reconciler.engine.observe.content import missing, value_of
from reconciler.engine.observe.hostvalues import taking_from_git
from reconciler.engine.places import tree_at
from reconciler.engine.ports import Place
from reconciler.engine.settings import EngineSettings
from reconciler.engine.state.objects import LieutenantItem, ObjectTable
from reconciler.errors import Forbidden, Refused

ENV_BYTES = 1 << 16
"""Longest secret in a variable: the kernel takes less than 128 KiB for one string."""

PARTS_KEPT = 16
"""Chains of profiles whose common part is remembered."""

NO_SIZE = Resources()
"""What a lieutenant has that declares no size of its own."""

Fields = tuple[tuple[str, ...], tuple[str, ...]]
"""Fields set and not acted on: those that protect, and the others."""


class Profiles:
    """Declared and stock profiles, rendered."""

    def __init__(self, settings: EngineSettings, table: ObjectTable, secrets: Credentials) -> None:
        self.settings, self.table, self.secrets = settings, table, secrets
        self.organ_programs = organ_programs()
        self._stock = {name: profile.spec for name, profile in stock_profiles().items()}
        self._rendered: dict[Key, tuple[LieutenantSpec, int, Rendered | Unresolved]] = {}
        self._localized: dict[Key, tuple[Rendered, Rendered]] = {}
        self._printed: dict[Key, tuple[Rendered, dict[SecretRef, str], Rendered]] = {}
        self._by_profile: dict[tuple[str, str], tuple[int, Fields]] = {}
        self._parts: deque[tuple[tuple[BootProfileSpec, ...], MachinePart]] = deque(maxlen=PARTS_KEPT)
        self._unsupported: dict[Key, tuple[Json, Fields]] = {}

    def profile(self, namespace: str, name: str) -> BootProfileSpec | Flawed | None:
        """A declared BootProfile, what is wrong with its only declaration, or the stock one of that name."""
        known = self.table.profile(namespace, name)
        why = self.table.flawed.get(boot_profile(namespace, name)) if known is None else None
        return Flawed(why) if why is not None else known or self._stock.get(name)

    def of_profile(self, key: Key, spec: LieutenantSpec) -> Rendered | Unresolved:
        """What is declared, without its secrets, and without what was baked from it."""
        lookup = partial(self.profile, key.namespace)
        return render(key.name, spec, lookup, self.settings.default_model, key.namespace, self.machine_part)

    def machine_part(self, chain: tuple[BootProfileSpec, ...], resources: Resources | None) -> MachinePart:
        """Made once for all lieutenants with the same profiles and no size of their own."""
        if resources is not None and resources != NO_SIZE:
            return machine_part(chain, resources)
        known = next((part for other, part in self._parts if len(other) == len(chain) and all(map(is_, other, chain))), None)
        if known is None:
            known = machine_part(chain, None)
            self._parts.append((chain, known))
        return known

    def baked(self, key: Key, spec: LieutenantSpec, made: Rendered) -> Rendered:
        """The same, made from the commit that the profile was baked to, where there is one of it as it is now."""
        profile = self.table.get(boot_profile(key.namespace, spec.profile_ref.name))
        if profile is None or not isinstance(profile.spec, BootProfileSpec) or not isinstance(profile.record, BootProfileRecord):
            return made
        found = bake.in_force(profile.record, made.profile_hash) if profile.spec.bake.enabled and not bake.is_oven(key) else None
        return made if found is None else replace(made, source=CommitSource(found.commit), seals=(found.seal,))

    def rendered(self, key: Key, spec: LieutenantSpec) -> Rendered | Unresolved:
        cached = self._rendered.get(key)
        if cached is not None and cached[0] is spec and cached[1] == self.table.profile_changes:
            made = cached[2]
        else:
            made = self.of_profile(key, spec)
            made = self.baked(key, spec, made) if isinstance(made, Rendered) else made
            self._rendered[key] = (spec, self.table.profile_changes, made)
        if isinstance(made, Unresolved):
            return made
        protects = self.profile_unsupported(key.namespace, spec.profile_ref.name)[0]
        if protects:
            return Unresolved(
                Reason.UNSUPPORTED, f"not acted on in this release: {', '.join(protects)}; remove it or use a later release", True
            )
        if not self.settings.from_git and any(ref.of_host for ref in made.secrets()):
            chain = chain_names(spec.profile_ref.name, partial(self.profile, key.namespace))
            if told := taking_from_git(self.table, key, chain):
                self.secrets.uses(key, frozenset())
                return Unresolved(GovernReason.CREDENTIAL_REFUSED, told, True)
        return self.with_secrets(key, made)

    def secret_files(self, key: Key, spec: LieutenantSpec) -> tuple[str, ...]:
        """Where its machine has files whose content is a secret, also of secrets that are gone meanwhile."""
        self.rendered(key, spec)
        made = self._rendered[key][2]
        return made.secret_files() if isinstance(made, Rendered) else ()

    def with_secrets(self, key: Key, made: Rendered) -> Rendered | Unresolved:
        """The same with a digest of its secrets, once all of them are there and can be carried where they are declared."""
        values: dict[SecretRef, str] = {}
        recalled: dict[SecretRef, str] = {}
        self.secrets.uses(key, frozenset(ref for ref in made.secrets() if ref.of_host))
        for ref in sorted(made.secrets()):
            if ref.of_host:
                match self.secrets.look(key.namespace, ref):
                    case Absent(reason, why):
                        return Unresolved(reason, why, final=reason is GovernReason.CREDENTIAL_REFUSED)
                    case Recalled(known_print):
                        recalled[ref] = known_print
                    case str(given):
                        values[ref] = given
                continue
            try:
                value = value_of(ref, key.namespace, self.secrets)
            except Forbidden as error:
                return Unresolved(Reason.SECRET_FORBIDDEN, str(error))
            except Refused as error:
                return Unresolved(Reason.SECRET_REFUSED, f"{ref.kind} {ref.name} key {ref.key}: {error}")
            if value is None:
                return Unresolved(Reason.SECRET_NOT_FOUND, missing(ref, key.namespace, self.secrets))
            values[ref] = value
        for name, ref in made.secret_env.items():
            if ref in recalled:
                continue
            if "\0" in values[ref] or len(values[ref].encode()) > ENV_BYTES:
                why = f"no environment can carry {ref.words} (a NUL, or more than {ENV_BYTES} bytes) in {name}"
                return Unresolved(Reason.SECRET_UNFIT, f"{why}; declare it as a file")
        prints = {ref: self.secrets.print(value) for ref, value in values.items()} | recalled
        known = self._printed.get(key)
        if known is None or known[0] is not made or known[1] != prints:
            empty = frozenset(ref for ref, value in values.items() if not value.strip())
            known = self._printed[key] = (made, prints, with_secrets(made, prints, empty))
        return known[2]

    def unread(self, key: Key, made: Rendered | Unresolved) -> tuple[tuple[Explained, str], ...]:
        """Of what it uses of Secrets and ConfigMaps, programs and files, why it can't be read any more; each with a reason."""
        if not isinstance(made, Rendered):
            return ()
        found: dict[str, Explained] = {}
        for ref in sorted(made.secrets()):
            if ref.kind == "Secret" or ref.kind == "ConfigMap":
                found[self.secrets.unread(ref.kind, key.namespace, ref.name)] = Reason.SECRET_FORBIDDEN
            else:
                found[self.secrets.failing(key.namespace, ref)] = GovernReason.CREDENTIAL_FAILED
        return tuple((reason, why) for why, reason in found.items() if why)

    def localized(self, item: LieutenantItem, machine: Rendered) -> Rendered:
        """The part of a rendering that applies on this host; made once from each."""
        known = self._localized.get(item.key)
        if known is None or known[0] is not machine:
            known = self._localized[item.key] = (machine, localized(machine, tree_at(self.settings, Place(local=item.uid))))
        return known[1]

    def profile_unsupported(self, namespace: str, name: str) -> Fields:
        """As `unsupported`, for a profile and what it extends; organs and capabilities that this release does not bring count as
        fields that are not acted on."""
        cached = self._by_profile.get((namespace, name))
        if cached is None or cached[0] != self.table.profile_changes:
            cached = self.table.profile_changes, self._profile_unsupported(namespace, name)
            self._by_profile[(namespace, name)] = cached
        return cached[1]

    def _profile_unsupported(self, namespace: str, name: str) -> Fields:
        chain = profile_chain(name, lambda at: self.profile(namespace, at), namespace)
        if isinstance(chain, Unresolved):
            return (), ()
        protects: list[str] = []
        others: list[str] = []
        for at, spec in zip(chain_names(name, lambda at: self.profile(namespace, at)), reversed(chain), strict=True):
            item = self.table.get(boot_profile(namespace, at))
            if item is not None and not item.deleting:
                found = self.unsupported(item.key, item.obj.spec)
                protects += [f"{field} of BootProfile {at}" for field in found[0]]
                others += [f"{field} of BootProfile {at}" for field in found[1]]
            others += [f"{told} of BootProfile {at}" for told in unknown(spec.organs, spec.capabilities)]
        return tuple(protects), tuple(others)

    def unsupported(self, key: Key, spec: Json) -> Fields:
        """Fields set and not acted on in this release: those that protect, and the others."""
        known = self._unsupported.get(key)
        if known is None or known[0] is not spec:
            item = self.table.get(key)
            found = unsupported(key.kind, spec, item.spec if item is not None and item.obj.spec is spec else None)
            fields = tuple(f.path for f in found if f.protects), tuple(f.path for f in found if not f.protects)
            known = self._unsupported[key] = (spec, fields)
        return known[1]

    def forget(self, key: Key) -> None:
        """The object is gone."""
        self.secrets.uses(key, frozenset())
        for made in (self._rendered, self._localized, self._printed, self._unsupported):
            made.pop(key, None)
