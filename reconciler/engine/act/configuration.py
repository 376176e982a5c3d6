"""Acts on a running agent's configuration: its model and how much it thinks, without a restart (G-30)."""

from __future__ import annotations

from reconciler.api.governreasons import GovernReason
from reconciler.api.reasons import Reason
from reconciler.core.decisions import SetModel
from reconciler.core.keys import Json
from reconciler.core.lieutenant.configuration import asked
from reconciler.core.records import ConfigRecord
from reconciler.core.snapshot.agent import Agent, Up
from reconciler.core.snapshot.lieutenant import LieutenantView
from reconciler.core.snapshot.rendered import Rendered
from reconciler.engine.act.context import ActContext
from reconciler.engine.places import machine_of
from reconciler.engine.state.objects import LieutenantItem, session_of

REFUSALS = 10
"""So many models that pi does not take are remembered of one process."""


class ConfigActs:
    def __init__(self, tools: ActContext) -> None:
        self.t = tools

    async def set_model(self, item: LieutenantItem, view: LieutenantView, action: SetModel) -> None:
        """Ask pi for the model and the level, then ask what it has: only that counts. What it refuses is written down, so that it
        is not asked for ever. Raises `GuestUnreachable`, `GuestFailed` when it could not be asked."""
        assert isinstance(view.rendered, Rendered)
        assert isinstance(view.agent, Agent)
        assert isinstance(view.agent.process, Up)
        pid, why = view.agent.process.pid, ""
        if action.model and view.agent.process.model != action.model:
            provider, _, model = action.model.partition("/")
            command: Json = {"type": "set_model", "provider": provider, "modelId": model}
            why = await self.ask(item, command)
            if why:  # it may be new in its models file, which it reads at its start
                await self.t.agents.reread(machine_of(item))
                why = await self.ask(item, command)
        if action.thinking and not why:
            why = await self.ask(item, {"type": "set_thinking_level", "level": action.thinking})
        has = await self.state(item)
        if isinstance(has, Up) and has.pid == pid:
            if not why and not self.applied(has, action):
                why = "it took the command and has another one: the model offers no such level" if action.thinking else "it has another one"
            if why:
                await self.refused(item, view.rendered, pid, self.t.redact(why)[:500])
                return
            told = " ".join(part for part in (action.model, action.thinking and f"thinking {action.thinking}") if part)
            self.t.recorder.note(item.key, item.uid, Reason.MODEL_SET, told)
            self.tell_of_fallbacks(item, view, action.model)

    async def refused(self, item: LieutenantItem, rendered: Rendered, pid: int, why: str) -> None:
        """pi does not take this model or level; that a fallback is not taken is told here, as nothing waits for it."""
        record = self.t.current(item)
        others = (*record.config.others, record.config.asked)[-REFUSALS:] if record.config.pid == pid else ()
        config = ConfigRecord(pid=pid, asked=asked(rendered), why=why, others=others)
        said = self.t.recorder.event(item.key, item.uid, Reason.MODEL_REJECTED, why, "Warning") if rendered.instead_of else []
        await self.t.save(item, record.but(config=config), *said)

    def tell_of_fallbacks(self, item: LieutenantItem, view: LieutenantView, model: str) -> None:
        """That another model than the declared one answers from now on, and that the declared one does again."""
        assert isinstance(view.rendered, Rendered)
        assert isinstance(view.agent, Agent)
        assert isinstance(view.agent.process, Up)
        if (stands_in := view.fallback) is not None:
            told = f"{stands_in.model} answers instead of {stands_in.instead_of}: {stands_in.why}"
            self.t.recorder.note(item.key, item.uid, GovernReason.FALLBACK_USED, told, "Warning")
        elif view.agent.process.model in {use.model for use in view.rendered.fallbacks}:
            told = f"{model} is asked again, instead of {view.agent.process.model}"
            self.t.recorder.note(item.key, item.uid, GovernReason.FALLBACK_ENDED, told)

    def applied(self, has: Up, action: SetModel) -> bool:
        return action.model in ("", has.model) and action.thinking in ("", has.thinking)

    async def ask(self, item: LieutenantItem, command: Json) -> str:
        """pi's words when it refuses; '' when it does not."""
        response = await self.t.agents.call(machine_of(item), command)
        if response.get("success") is True:
            return ""
        error = response.get("error")
        return error if isinstance(error, str) and error else "no reason given"

    async def state(self, item: LieutenantItem) -> object:
        look = await self.t.agents.observe(machine_of(item), session_of(item).file, 0)
        return look.agent.process
