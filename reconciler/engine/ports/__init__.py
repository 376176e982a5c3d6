"""What the engine needs from outside, as Protocols. `vers`, `agent` and `store` implement them; tests bring doubles.

Rules that every implementation keeps:
* a call either returns what it observed or raises from `reconciler.errors`; nothing is swallowed and nothing is guessed;
* no implementation retries what is not idempotent; the planner decides what to try again;
* every call has a deadline of its own and may be cancelled at any time;
* secrets appear in no exception, log line or argument list.
"""

from __future__ import annotations

from reconciler.core.keys import Json as Json
from reconciler.core.keys import JsonValue as JsonValue
from reconciler.core.keys import Key as Key
from reconciler.core.keys import SlotKey as SlotKey
from reconciler.core.keys import SlotOwner as SlotOwner
from reconciler.engine.ports.agents import LOCAL_PREFIX as LOCAL_PREFIX
from reconciler.engine.ports.agents import AgentObservation as AgentObservation
from reconciler.engine.ports.agents import AgentReader as AgentReader
from reconciler.engine.ports.agents import Agents as Agents
from reconciler.engine.ports.agents import AgentWriter as AgentWriter
from reconciler.engine.ports.agents import Archive as Archive
from reconciler.engine.ports.agents import Launch as Launch
from reconciler.engine.ports.agents import Machine as Machine
from reconciler.engine.ports.agents import MachineMemory as MachineMemory
from reconciler.engine.ports.agents import Place as Place
from reconciler.engine.ports.agents import where as where
from reconciler.engine.ports.clock import Clock as Clock
from reconciler.engine.ports.secrets import Draws as Draws
from reconciler.engine.ports.secrets import Secrets as Secrets
from reconciler.engine.ports.store import HALTED as HALTED
from reconciler.engine.ports.store import AddAudit as AddAudit
from reconciler.engine.ports.store import AddEvent as AddEvent
from reconciler.engine.ports.store import AppendSession as AppendSession
from reconciler.engine.ports.store import DropObject as DropObject
from reconciler.engine.ports.store import Event as Event
from reconciler.engine.ports.store import Image as Image
from reconciler.engine.ports.store import Intent as Intent
from reconciler.engine.ports.store import PutIntent as PutIntent
from reconciler.engine.ports.store import PutMemory as PutMemory
from reconciler.engine.ports.store import PutMeta as PutMeta
from reconciler.engine.ports.store import PutObject as PutObject
from reconciler.engine.ports.store import SawVms as SawVms
from reconciler.engine.ports.store import Store as Store
from reconciler.engine.ports.store import StoredObject as StoredObject
from reconciler.engine.ports.store import Write as Write
from reconciler.engine.ports.vers import VersApi as VersApi
