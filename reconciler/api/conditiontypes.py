"""The types of conditions, each with its meaning."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class ConditionType(StrEnum):
    """What conditions speak of."""

    meaning: str

    def __new__(cls, value: str, meaning: str = "") -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    READY = "Ready", "The declared state is reached for this generation; for a lieutenant also when it is suspended on purpose."
    RECONCILING = "Reconciling", "Something moves or is waited for. Exists only while True."
    STALLED = "Stalled", "Nothing will move until somebody changes something. Exists only while True."
    AVAILABLE = "Available", "The lieutenant takes work this second."
    VM_READY = "VMReady", "Its machine runs, as the platform's list says."
    AGENT_REACHABLE = "AgentReachable", "pi answers on its machine."
    AGENT_CONFIGURED = "AgentConfigured", "Role, instructions and model are applied, as read back from pi."
    UP_TO_DATE = "UpToDate", "The machine was made from the profile as it is now."
    SUSPENDED = "Suspended", "The machine is suspended."
    PROFILE_PARTLY_APPLIED = (
        "ProfilePartlyApplied",
        "The agent is on the controller's host, where parts of its profile do not apply; the message names them. Exists only while True.",
    )
    WORKSPACE_LOST = (
        "WorkspaceLost",
        "The conversation goes on, and the files of the machine before this one are gone. Exists only while True: until a person says "
        "that it is known.",
    )
    OUTPUT_DRIFT = (
        "OutputDrift",
        "Its conversation was shortened, and its agent goes on without having been told role and directive again. Exists only while True.",
    )
    FORKED = "Forked", "It was made as a live copy of the lieutenant that `fork` names; False says why not yet."
    SECRETS_UNREAD = (
        "SecretsUnread",
        "What the lieutenant uses of Secrets, ConfigMaps, programs and files can't be read any more: what runs goes on with the values "
        "read last, and a changed one is not seen; the message says what is missing. Exists only while True.",
    )
    PRUNE_BLOCKED = (
        "PruneBlocked",
        "It, or a part of it, is not declared any more where it was, and deleting that needs a person; the message says why and what to "
        "do. Exists only while True.",
    )
    DECLARATION_INVALID = (
        "DeclarationInvalid",
        "What its file declares now is not valid, or refused, and its last good version stays in force; the message says what is wrong and "
        "where. Exists only while True.",
    )
    UNSUPPORTED = "Unsupported", "Fields are set that this release does not act on; the message names them. Exists only while True."
