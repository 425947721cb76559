"""A DataFusion context for work over whole tables: what does not fit into its memory spills to disk."""

from __future__ import annotations

from pathlib import Path

from datafusion import RuntimeEnvBuilder, SessionConfig, SessionContext

MEMORY = 512 << 20
"""Bytes that operators may hold before they spill."""


def bounded_context(scratch: Path, *, joins_spill: bool = False) -> SessionContext:
    """scratch: where it spills. joins_spill: join by merging sorted sides, slower, where neither side need fit into memory."""
    config = SessionConfig().set("datafusion.optimizer.prefer_hash_join", "false" if joins_spill else "true")
    return SessionContext(config, RuntimeEnvBuilder().with_temp_file_path(scratch).with_fair_spill_pool(MEMORY))
