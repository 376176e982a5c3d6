"""How much of the audit stays."""

from __future__ import annotations

from sqlalchemy import Connection, delete, select

from reconciler.store.schema import AUDIT

AGENT = "agent"


def forget_audit(connection: Connection, keep: int) -> None:
    """The newest `keep` entries stay of what people did, and as many of what agents were refused: an agent that tries and tries pushes
    nothing of people's out."""
    span = connection.exec_driver_sql("SELECT max(seq) - min(seq) FROM audit").scalar()
    if span is None or span < keep:
        return  # there are not more than that
    for of in (AUDIT.c.door == AGENT, AUDIT.c.door != AGENT):
        first_gone = select(AUDIT.c.seq).where(of).order_by(AUDIT.c.seq.desc()).offset(keep).limit(1).scalar_subquery()
        connection.execute(delete(AUDIT).where(of, AUDIT.c.seq <= first_gone))
