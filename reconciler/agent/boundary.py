"""bubblewrap, of which a keeper makes the boundary that a profile declares (`sandbox`): put on a machine that lacks it before pi starts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from reconciler.agent.bootstrap import GuestLayout, lines
from reconciler.agent.transport import FixedScript
from reconciler.errors import GuestFailed

_INSTALL_SECONDS: Final = 900.0
_REMEDY: Final = "add a step to the profile that installs the package bubblewrap, or begin from an image that has it"
_REMEDY_HERE: Final = "install the package bubblewrap on this host"

# Where the keeper looks, and no agent can have put anything.
INSTALL_BUBBLEWRAP: Final = FixedScript(r"""
set -eu
read -r base
read -r may
for place in "$base/bin" /usr/bin /usr/local/bin; do [ ! -e "$place/bwrap" ] || exit 0; done
[ "$may" = install ] || { echo "it is never installed on a host" >&2; exit 69; }
command -v apt-get > /dev/null 2>&1 || { echo "there is no apt-get to install it" >&2; exit 69; }
export DEBIAN_FRONTEND=noninteractive
apt-get update -q >&2
apt-get install -y -q --no-install-recommends bubblewrap >&2
""")

RunScript = Callable[[FixedScript, bytes, str, float], Awaitable[object]]
"""Runs a script there. Raises `GuestFailed` when it ends badly, `GuestUnreachable` when the machine does not answer."""


async def ensure(script: RunScript, layout: GuestLayout, *, host: bool) -> None:
    """It is there afterwards. `host`: this is the controller's own, to which nothing is done. Raises as `script` does; a failure says
    what to do."""
    may = "look" if host else "install"
    try:
        await script(INSTALL_BUBBLEWRAP, lines(layout.base, may), "installing bubblewrap", _INSTALL_SECONDS)
    except GuestFailed as failed:
        what = "bubblewrap, which the declared sandbox needs, is missing and can't be installed, so no agent is started"
        remedy = f"{_REMEDY_HERE if host else _REMEDY}: {failed.tail[-300:]}"
        raise GuestFailed(what, failed.where, remedy, failed.exit_code, failed.tail) from failed
