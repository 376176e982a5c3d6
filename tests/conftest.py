"""Fixtures that more than one part's tests use, and the rules that hold for the whole suite."""

from __future__ import annotations

from tests.postgres import postgres_server, postgres_url
from tests.promises import pytest_collection_modifyitems, pytest_configure, pytest_sessionfinish, pytest_terminal_summary

__all__ = [
    "postgres_server",
    "postgres_url",
    "pytest_collection_modifyitems",
    "pytest_configure",
    "pytest_sessionfinish",
    "pytest_terminal_summary",
]
