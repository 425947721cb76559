"""Search by words: terms of texts, and BM25 over them."""
