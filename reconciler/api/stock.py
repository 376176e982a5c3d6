"""The stock boot profiles, and what their organs are made of: in a wheel from `reconciler/stock`, in a checkout from `specs`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from reconciler.api.parsing import parse
from reconciler.api.resources import BootProfile
from reconciler.errors import Terminal

NAMES = ("full", "swarm", "lightweight", "infra")


def stock_profiles() -> dict[str, BootProfile]:
    """The four built-in profiles by name, read once. A declared BootProfile of the same name shadows one (the caller sees to
    that). Raises `Terminal` when one is missing or broken: the installation is."""
    return dict(_stock_profiles())


@cache
def _stock_profiles() -> Mapping[str, BootProfile]:
    folder = _folder()
    return {name: _load(folder / f"{name}.yaml", name) for name in NAMES}


@cache
def organ_programs() -> Mapping[str, Mapping[str, str]]:
    """What organs and capabilities are made of, read once: by the name of each the files of its directory, and under `shared` what
    several of them use. Raises `Terminal` when they can't be read: the installation is broken."""
    found: dict[str, dict[str, str]] = {}
    folder = _folder("organs")
    try:
        for entry in sorted(folder.iterdir(), key=lambda e: e.name):
            if entry.is_dir():
                found[entry.name] = {file.name: file.read_text("utf-8") for file in sorted(entry.iterdir(), key=lambda e: e.name)}
    except OSError as error:
        remedy = "install the package again"
        raise Terminal(f"organs can't be read ({type(error).__name__})", str(folder), remedy) from error
    return found


def _folder(name: str = "profiles") -> Traversable:
    packaged = files("reconciler") / "stock" / name
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[2] / "specs" / name


def _load(file: Traversable, name: str) -> BootProfile:
    remedy = "install the package again"
    try:
        document = YAML(typ="safe", pure=True).load(file.read_text("utf-8"))
    except (OSError, YAMLError) as error:
        raise Terminal(f"stock profile {name!r} can't be read ({type(error).__name__})", str(file), remedy) from error
    profile = parse(document)
    if not isinstance(profile, BootProfile) or profile.metadata.name != name:
        told = "; ".join(map(str, profile)) if isinstance(profile, list) else "it declares something else"
        raise Terminal(f"stock profile {name!r} is not valid: {told}", str(file), remedy)
    return profile
