"""Tests: they run against the real PostgreSQL, Redis and HTTP of an embedded stack."""
