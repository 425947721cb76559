"""The engines by the name that an IndexGeneration gives them. Next: `engine.py` for what they have in common."""

from __future__ import annotations

from engines.errors import EngineUnsupported
from engines.vectors.engine import VectorEngine
from engines.vectors.flat import FlatEngine


def open_engine(name: str) -> VectorEngine:
    """Raises EngineUnsupported."""
    match name:
        case "flat":
            return FlatEngine()
        case "hnsw":
            from engines.vectors.hnsw import HnswEngine  # a flat index needs no hnswlib

            return HnswEngine()
        case "lance":
            from engines.vectors.lance import LanceEngine

            return LanceEngine()
        case _:
            raise EngineUnsupported(f"There is no vector engine {name!r}.", remedy="Use `flat`, `hnsw` or `lance`.")
