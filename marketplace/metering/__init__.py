"""Prices, quotes and meter events: what was counted and what it costs."""
