"""Reconciler: when it happens: git source, planning, queue, loop, status, daemon, settings, lakectl. May import every room."""
