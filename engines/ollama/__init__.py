"""Models that an Ollama server on this machine runs: their facts, embeddings, chats, and which of them are loaded.

The only package that imports `ollama`, and it does so when a server is first asked. Read first: `client.py`, then `activation.py`.
"""
