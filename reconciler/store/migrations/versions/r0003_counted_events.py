"""An event that is told again is counted: events of before were told once, when they happened."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """New columns have defaults that are right for every row there is; `first_at` 0 means `at`."""
    op.add_column("events", sa.Column("series", sa.Text, nullable=False, server_default=""))
    op.add_column("events", sa.Column("count", sa.BigInteger, nullable=False, server_default="1"))
    op.add_column("events", sa.Column("first_at", sa.Double, nullable=False, server_default="0"))
