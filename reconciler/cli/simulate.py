"""`simulate`: the Vers platform on loopback."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

import typer

from reconciler.cli.output import say
from reconciler.config import Config
from reconciler.errors import ReconcilerError
from reconciler.visible import one_line

Many = list[str] | None


def simulate(
    config: Config,
    listen: Annotated[str, typer.Option("--listen", metavar="HOST:PORT", help="Port 0: a free one.")] = "127.0.0.1:0",
    data: Annotated[Path | None, typer.Option("--data", metavar="DIR", help="Keep everything there, over restarts.")] = None,
    env_file: Annotated[Path | None, typer.Option("--env-file", metavar="FILE", help="Write `export …` lines there (0600).")] = None,
    guests: Annotated[
        Literal["isolated", "process", "stub"], typer.Option("--guests", help="What a VM is: kept apart, a plain directory, or nothing.")
    ] = "isolated",
    latency: Annotated[Many, typer.Option("--latency", metavar="OP=S", help="Delay an operation.")] = None,
    fault: Annotated[Many, typer.Option("--fault", metavar="OP:NTH[:before|after]:KIND", help="Let a call go wrong.")] = None,
    knob: Annotated[Many, typer.Option("--knob", metavar="NAME=VALUE", help="Choose among platforms that may exist.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="The same ids each time.")] = None,
) -> None:
    """Serve the Vers API on loopback, with real machines inside.

    Prints one JSON line when ready."""
    from reconciler.agent.toolchain import find_toolchain
    from reconciler.vers.simulator.image import GuestImage, default_node_dir
    from reconciler.vers.simulator.service import configure, run

    # What was asked for comes first: to find pi may take a download.
    settings = configure(listen, data, env_file, guests, tuple(latency or ()), tuple(fault or ()), tuple(knob or ()), seed)
    if guests == "process":
        say("warning: such machines share this host: an agent's absolute paths, /root and /var/lib among them, are the host's own")
    image = GuestImage()
    if guests != "stub":
        try:
            tools = find_toolchain(config.environ)
            image = GuestImage(tools.node_dir, tools.pi_dir)
        except ReconcilerError as error:
            image = GuestImage(default_node_dir())
            say(f"warning: machines come without pi: {one_line(str(error))}")
    raise typer.Exit(run(replace(settings, image=image)))
