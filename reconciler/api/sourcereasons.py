"""Reasons that only files and repositories as sources bring."""

from __future__ import annotations

from reconciler.api.waits import Explained


class SourceReason(Explained):
    """What an event about a stack or a repository reports."""

    PRUNE_BLOCKED = (
        "PruneBlocked",
        "Something is not declared any more where it was, and deleting it needs a person.",
        "Put it back, or approve exactly that: `reconciler prune --approve HASH`; see docs/files.md.",
    )
    COMMIT_APPLIED = "CommitApplied", "A commit of a repository is in force.", "Nothing."
    COMMIT_REFUSED = (
        "CommitRefused",
        "A commit of a repository is not good as a whole; the last good one stays in force.",
        "Correct what the message names, and push.",
    )
    REPOSITORY_UNREACHABLE = (
        "RepositoryUnreachable",
        "A repository can't be fetched, or has no such ref; what is in force stays so.",
        "See git's words in the message; it is tried again.",
    )
