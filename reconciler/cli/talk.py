"""What is said in a conversation, as it goes on: what `logs` and `output` print."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from reconciler.cli import names
from reconciler.cli.output import say
from reconciler.cli.read import one
from reconciler.core.keys import Key
from reconciler.core.messages import Message
from reconciler.engine.ports import Store, StoredObject
from reconciler.views.conversation import Conversation, before, session_of, with_prompt


class Talk:
    """What is said in the conversations of one lieutenant, as they go on. `of`: what belongs to this task only. `gone`: which of the two
    was found to be no more."""

    def __init__(self, store: Store, key: Key, of: StoredObject | None) -> None:
        self.key, self._store, self._of = key, store, of
        self.gone: Key | None = None
        self._talk = Conversation(store, "")
        self._told = 0
        self._shown = set[str]()  # by their ids
        self._known = frozenset[str]()  # those with which the conversation in force may begin

    async def begin(self, earlier: bool) -> list[Message]:
        """Everything so far; `earlier`: also of conversations before the one in force. Raises `NotFound`."""
        obj = await one(self._store, self.key)
        said = list(await before(self._store, obj)) if earlier and self._of is None else []
        return said + await self.more()

    async def more(self) -> list[Message]:
        """What came since the last call. Of a conversation that ended meanwhile, or whose lieutenant is gone, the rest; of one that goes on
        with what another had, only what is new."""
        keys = (self.key, *((self._of.key,) if self._of is not None else ()))
        found = [await self._store.objects(key.kind, key.namespace, key.name) for key in keys]
        self.gone = next((key for key, objects in zip(keys, found, strict=True) if not objects), None)
        if self.gone is not None:
            return await self._rest()
        of = found[1][0] if self._of is not None else None  # where its turn ends is known later
        session = session_of(found[0][0], of)
        fresh: list[Message] = []
        if self._talk.session != session:
            fresh = await self._rest()
            self._talk, self._told, self._known = Conversation(self._store, session), 0, frozenset(self._shown)
        self._of = of
        return fresh + await self._rest()

    async def _rest(self) -> list[Message]:
        await self._talk.refresh()
        messages = self._talk.messages if self._of is None else with_prompt(self._talk.messages, self._of)
        fresh, self._told = [one for one in messages[self._told :] if one.entry_id not in self._known], len(messages)
        self._shown |= {one.entry_id for one in fresh if one.entry_id}
        return fresh


_T = TypeVar("_T", bound=Talk)


def still_there(talks: Sequence[_T]) -> list[_T]:
    """Those that go on; of the others it is said that they are gone."""
    for one_more in talks:
        if one_more.gone is not None:
            say(f"{names.short(one_more.gone)} is gone")
    return [one_more for one_more in talks if one_more.gone is None]
