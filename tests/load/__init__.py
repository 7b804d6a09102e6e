"""Measure a whole stack on this machine: `python -m tests.load --help`.

Every figure comes from real processes on loopback with durable commits; nothing asserts a time.
"""
