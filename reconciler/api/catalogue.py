"""All reasons of this release, whichever part of the catalogue they are in."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.api.reasons import Reason
from reconciler.api.sourcereasons import SourceReason
from reconciler.api.treereasons import TreeReason
from reconciler.api.waits import Explained

REASONS: Mapping[str, Explained] = {str(one): one for one in (*Reason, *TreeReason, *SourceReason)}
"""Every reason by its word."""
