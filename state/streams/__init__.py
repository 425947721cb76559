"""Streams: events as data, durable when acknowledged. Owns the write-ahead files, the segments in the bucket and `system.*` tables."""
