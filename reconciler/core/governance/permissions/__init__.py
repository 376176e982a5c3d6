"""Permissions: which tool calls of an agent run, wait for a person, or never run. Pure; the keeper has the same engine in
JavaScript (`reconciler/agent/keeper/guard*.mjs`), and one table of cases runs against both."""
