"""Bytes: the store, signed URLs and the probe."""
