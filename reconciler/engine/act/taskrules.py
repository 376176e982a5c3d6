"""The rules that go with everything that is said to an agent for the sake of a task."""

from __future__ import annotations

from reconciler.core.keys import Json
from reconciler.core.lieutenant.readback import running
from reconciler.core.profile.rendering import same_launch
from reconciler.core.snapshot.rendered import Rendered
from reconciler.core.snapshot.workset import WorkSet
from reconciler.engine.act.guest import guard_of


def rules_for(view: WorkSet, task: str) -> Json | None:
    """What the calls of the task of that name are checked against, as a keeper takes it; None where nothing is checked. Of a task that is
    not there (any more) only its lieutenant's hold."""
    rendered = view.lieutenant.rendered if view.lieutenant is not None else None
    if not isinstance(rendered, Rendered) or rendered.rules is None:
        return None
    own = next((facts.spec.permissions for facts in view.tasks if facts.key.name == task), None)
    return guard_of(rendered, own)


def rules_in_its_turn(view: WorkSet, task: str) -> Json | None:
    """The same for what is said in a turn that is on: a pi that was started anew meanwhile takes it as a prompt, without the rules that
    the turn had. None as well for a pi that runs with an earlier launch: it gets the new rules when it is restarted."""
    up = running(view.lieutenant.lt) if view.lieutenant is not None else None
    if up is None or up[1].guard is None or not same_launch(up[1].launch_hash, up[2]):
        return None
    return rules_for(view, task)
