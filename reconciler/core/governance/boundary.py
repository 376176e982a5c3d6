"""The boundary of the operating system that a profile declares around its agents. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from reconciler.api.sandbox import Sandbox, guards
from reconciler.core.keys import Json

_PORTS = {"http": 80, "https": 443}
_HOSTS: Mapping[str, str] = {
    "anthropic": "api.anthropic.com",
    "baseten": "inference.baseten.co",
    "cerebras": "api.cerebras.ai",
    "cloudflare-ai-gateway": "gateway.ai.cloudflare.com",
    "cloudflare-workers-ai": "api.cloudflare.com",
    "deepseek": "api.deepseek.com",
    "fireworks": "api.fireworks.ai",
    "google": "generativelanguage.googleapis.com",
    "groq": "api.groq.com",
    "huggingface": "router.huggingface.co",
    "kimi-coding": "api.kimi.com",
    "minimax": "api.minimax.io",
    "minimax-cn": "api.minimaxi.com",
    "mistral": "api.mistral.ai",
    "moonshotai": "api.moonshot.ai",
    "moonshotai-cn": "api.moonshot.cn",
    "nvidia": "integrate.api.nvidia.com",
    "openai": "api.openai.com",
    "opencode": "opencode.ai",
    "openrouter": "openrouter.ai",
    "together": "api.together.ai",
    "vercel-ai-gateway": "ai-gateway.vercel.sh",
    "xai": "api.x.ai",
    "zai": "api.z.ai",
}
"""Where providers answer that pi knows by itself, as of the releases of pi that are tested; those with an address for each region or
account are not among them."""


@dataclass(frozen=True, slots=True)
class Boundary:
    """`writable`, `hidden`: absolute paths; `network`: hosts with ports, None for the machine's own network."""

    writable: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()
    network: tuple[str, ...] | None = None

    @property
    def hash(self) -> str:
        """The same as a keeper makes of it."""
        whole = [self.writable, self.hidden, self.network]
        return hashlib.sha256(json.dumps(whole, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()[:16]

    def declared(self, work_dir: str, agent_dir: str, session_dir: str) -> Json:
        """As a keeper takes it."""
        network: Json = {"network": list(self.network)} if self.network is not None else {}
        places: Json = {"workDir": work_dir, "agentDir": agent_dir, "sessionDir": session_dir}
        return {"writable": list(self.writable), "hidden": list(self.hidden), **network, **places}

    def in_tree(self, tree: str) -> Boundary:
        """For an agent on the controller's host: what it may write is in its own tree, and what is hidden is so there and on the host."""
        hidden = (*self.hidden, *(f"{tree}{path}" for path in self.hidden))
        return replace(self, writable=tuple(f"{tree}{path}" for path in self.writable), hidden=hidden)


def boundary_of(declared: Sandbox | None, urls: Mapping[str, str], providers: Iterable[str]) -> Boundary | None:
    """What a profile declares, with the addresses of these providers of models. `urls`: of providers that a profile declares."""
    if declared is None:
        return None
    if declared.network is None:
        return Boundary(declared.fs.writable, declared.fs.hidden)
    known = [_address(urls[name]) if name in urls else f"{_HOSTS[name]}:443" for name in providers if name in urls or name in _HOSTS]
    return Boundary(declared.fs.writable, declared.fs.hidden, tuple(dict.fromkeys((*declared.network.allow, *known))))


def flaw_of(declared: Sandbox | None, work_dir: str) -> str:
    """Why an agent with this work dir can't be put into it; '' when it can."""
    if declared is None or not guards(work_dir):
        return ""
    return f"the work dir {work_dir} holds, or is among, what guards the agent of a sandbox; declare another `agent.workDir`"


def _address(url: str) -> str:
    parts = urlsplit(url)
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
    return f"{host}:{parts.port or _PORTS.get(parts.scheme, 443)}"
