"""What embedding models want to read before a text, by the table of their makers' cards. Pure.

A model that is not in the table gets none. The words are part of a model's fingerprint: vectors that were made with others are others.
"""

from __future__ import annotations

import hashlib
from typing import NamedTuple


class Prefixes(NamedTuple):
    """Before a text that is found, and before one that is looked for."""

    document: str = ""
    query: str = ""

    @property
    def mark(self) -> str:
        """Names them in a fingerprint."""
        return hashlib.sha256("\0".join(self).encode()).hexdigest()[:8] if any(self) else "plain"


_RETRIEVE = "Represent this sentence for searching relevant passages: "
_INSTRUCT = "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: "

_KNOWN: tuple[tuple[str, Prefixes], ...] = (
    # the longer name first: a name begins with one of these
    ("nomic-embed-text", Prefixes("search_document: ", "search_query: ")),
    ("mxbai-embed-large", Prefixes("", _RETRIEVE)),
    ("snowflake-arctic-embed2", Prefixes("", "query: ")),
    ("snowflake-arctic-embed", Prefixes("", _RETRIEVE)),
    ("bge-m3", Prefixes()),
    ("bge-large", Prefixes("", _RETRIEVE)),
    ("embeddinggemma", Prefixes("title: none | text: ", "task: search result | query: ")),
    ("qwen3-embedding", Prefixes("", _INSTRUCT)),
    ("all-minilm", Prefixes()),
    ("granite-embedding", Prefixes()),
    ("paraphrase-multilingual", Prefixes()),
)
"""Sources: the models' cards on huggingface.co (nomic-ai/nomic-embed-text-v1.5, mixedbread-ai/mxbai-embed-large-v1,
Snowflake/snowflake-arctic-embed-l and -l-v2.0, BAAI/bge-large-en-v1.5, google/embeddinggemma-300m, Qwen/Qwen3-Embedding-0.6B)."""


def prefixes(model: str) -> Prefixes:
    """Of a model by its name on the server, whatever its namespace and tag."""
    name = model.rpartition("/")[2].partition(":")[0]
    return next((found for known, found in _KNOWN if name.startswith(known)), Prefixes())
