"""Reasons that only files and repositories as sources bring."""

from __future__ import annotations

from reconciler.api.waits import AT_SOURCE, Explained


class SourceReason(Explained):
    """What is reported of a stack, of a repository, or of a declaration in one."""

    PRUNE_BLOCKED = (
        "PruneBlocked",
        "Something is not declared any more where it was, and deleting it needs a person.",
        "Put it back, or approve exactly that: `reconciler prune --approve HASH`; see docs/files.md.",
        AT_SOURCE,
    )
    DECLARATION_INVALID = (
        "DeclarationInvalid",
        "Where it is declared, it is not valid now, or would be refused; its last good version stays in force.",
        "Correct what the message names.",
        AT_SOURCE,
    )
    DECLARATION_GOOD = "DeclarationGood", "Nothing is wrong with its declaration any more.", "Nothing."
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
    REPOSITORY_GOOD = "RepositoryGood", "What was wrong with a repository is over, or it is not followed any more.", "Nothing."
