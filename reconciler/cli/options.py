"""Options that every command takes, before its name or after it."""

from __future__ import annotations

import functools
import inspect
import os
import re
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Concatenate, ParamSpec, cast, get_type_hints

import typer

from reconciler import config
from reconciler.config import Config, Setting
from reconciler.errors import ReconcilerError, UsageError

P = ParamSpec("P")
PANEL = "Everywhere"


def _option(*names: str, metavar: str | None = None, help: str) -> object:
    return typer.Option(*names, metavar=metavar, help=help, rich_help_panel=PANEL, show_default=False)


GLOBALS: dict[str, object] = {
    "state": Annotated[
        str | None, _option("--state", metavar="DIR", help="State directory: store, control socket; or RECONCILER_STATE.")
    ],
    "store": Annotated[
        str | None, _option("--store", metavar="URL", help="SQLAlchemy URL instead of a file in --state; or RECONCILER_STORE.")
    ],
    "fleet": Annotated[str | None, _option("--fleet", metavar="NAME", help="Whose VMs are ours; or RECONCILER_FLEET.")],
    "namespace": Annotated[str | None, _option("--namespace", "-n", metavar="NAME", help="Namespace of objects that name none.")],
    "log_format": Annotated[str | None, _option("--log-format", metavar="text|json", help="How the log on stderr is written.")],
    "verbose": Annotated[bool | None, _option("--verbose", "-v", help="Log more; show tracebacks.")],
    "secrets": Annotated[str | None, _option("--secrets", metavar="DIR", help="Secret values: NAMESPACE/NAME/KEY, mode 0600.")],
    "config_maps": Annotated[
        str | None, _option("--config-maps", metavar="DIR", help="Values of config maps: NAMESPACE/NAME/KEY.")
    ],
    "default_model": Annotated[
        str | None, _option("--default-model", metavar="PROVIDER/ID", help="Model of agents that declare none.")
    ],
    "allow_local": Annotated[bool | None, _option("--allow-local", help="Agents may run on this host.")],
    "dedicated_account": Annotated[
        str | None, _option("--dedicated-account", metavar="true|false", help="Whether nobody else makes VMs from our commits (true).")
    ],
    "adopt_unowned": Annotated[
        str | None,
        _option(
            "--adopt-unowned",
            metavar="NS…",
            help="Namespaces that may use ids without our mark. Default: all (*); in a cluster none; or RECONCILER_ADOPT_UNOWNED.",
        ),
    ],
    "share": Annotated[
        str | None,
        _option("--share", metavar="OWNER=USER…", help="Namespaces that may use what another one made; or RECONCILER_SHARE."),
    ],
    "max_vms": Annotated[
        str | None, _option("--max-vms", metavar="N", help="Most VMs of all objects together; or RECONCILER_MAX_VMS.")
    ],
    "kube": Annotated[bool | None, _option("--kube", help="Ask a cluster: its API server is the store.")],
    "context": Annotated[str | None, _option("--context", metavar="C", help="Context of the kubeconfig, with --kube.")],
    "config": Annotated[
        Path | None, _option("--config", metavar="FILE", help="TOML: every flag here by its long name; or RECONCILER_CONFIG.")
    ],
}  # fmt: skip
"""Parameter → its annotation, as the command line parser reads it."""

WITHOUT_KUBE = {
    "attach": (
        "the operator's store has the conversation: `kubectl exec -n reconciler -it deploy/reconciler --"
        " reconciler attach -n {namespace} {words}`"
    ),
    "halt": "`kubectl exec -n reconciler deploy/reconciler -- reconciler halt`",
    "run": "`reconciler operator` is for a cluster",
    "demo": "leave it out: it has a fleet of its own",
}
"""What to do instead, for commands that do not know `--kube`; they may name the namespace and the words that the command was told."""

_PARAMETERS = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=note) for name, note in GLOBALS.items()]


def with_globals(name: str, run: Callable[Concatenate[Config, P], None], clusters: Collection[str]) -> Callable[..., None]:
    """A command that also takes the options above; they arrive merged, as its first argument. `clusters`: who knows `--kube`."""
    signature = inspect.signature(run)
    own = list(signature.parameters.values())[1:]
    taken = {p.name for p in own}  # a command may take an option of that name in a form of its own
    hints = get_type_hints(run, include_extras=True)

    @functools.wraps(run)
    def command(*args: P.args, **kwargs: P.kwargs) -> None:
        context = cast(typer.Context, kwargs.pop("typer_context"))
        given = {option: None if option in taken else kwargs.pop(option) for option in GLOBALS}
        config = merged(context, given)
        if not config.kube:
            return run(config, *args, **kwargs)
        if name not in clusters:
            words = " ".join(map(str, said)) if isinstance(said := kwargs.get("words"), list) else ""
            instead = WITHOUT_KUBE.get(name, "leave it out").format(namespace=config.namespace, words=words)
            raise UsageError(f"`{name}` does not go through an API server", "--kube", instead)
        try:
            run(config, *args, **kwargs)
        except ReconcilerError as error:
            error.remedy = for_cluster(error.remedy, config, clusters)
            raise

    context = inspect.Parameter("typer_context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    own = [p.replace(annotation=hints[p.name], kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
    parameters = [context, *own, *(p for p in _PARAMETERS if p.name not in taken)]
    command.__signature__ = signature.replace(parameters=parameters, return_annotation=None)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    del command.__wrapped__  # else its signature would be read instead
    return command


def for_cluster(remedy: str, config: Config, clusters: Collection[str]) -> str:
    """A remedy whose commands are for where this one ran: without `--kube` and the namespace they would ask a store here."""
    where = f"--kube {f'--context {config.context} ' if config.context else ''}-n {config.namespace}"
    return re.sub(r"`reconciler ([a-z]+)(?![^`]*--kube)", lambda found: f"{found[0]} {where}" if found[1] in clusters else found[0], remedy)


def merged(context: typer.Context, given: dict[str, object]) -> Config:
    """What was given before the command's name, and after it (which wins)."""
    before = context.find_root().obj or {}
    values = {name: value if value is not None else before.get(name) for name, value in given.items()}
    file = values.pop("config")
    flags: dict[str, Setting | None] = {
        name.replace("_", "-"): value if isinstance(value, str | bool | int | float) else None for name, value in values.items()
    }
    loaded = config.load(flags, os.environ, file if isinstance(file, Path) else None)
    if not loaded.kube or loaded.namespace:
        return loaded
    from reconciler.cli.kube import namespace_of

    return replace(loaded, namespace=namespace_of(loaded))


def root(app: typer.Typer, docs: str, settings: dict[str, object]) -> None:
    """Take the same options before the command's name. `docs`: the help of the program; `settings`: of the context it runs in."""

    def remember(typer_context: typer.Context, **given: object) -> None:
        typer_context.obj = given

    context = inspect.Parameter("typer_context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    remember.__signature__ = inspect.Signature([context, *_PARAMETERS])  # type: ignore[attr-defined]
    remember.__annotations__ = {p.name: p.annotation for p in (context, *_PARAMETERS)}
    remember.__doc__ = docs
    app.callback(context_settings=settings)(remember)
