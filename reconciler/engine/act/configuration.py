"""Acts on a running agent's configuration: its model and how much it thinks, without a restart (G-30)."""

from __future__ import annotations

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
                config = ConfigRecord(pid=pid, asked=asked(view.rendered), why=self.t.redact(why)[:500])
                await self.t.save(item, self.t.current(item).but(config=config))
                return
            told = " ".join(part for part in (action.model, action.thinking and f"thinking {action.thinking}") if part)
            self.t.recorder.note(item.key, item.uid, Reason.MODEL_SET, told)

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
