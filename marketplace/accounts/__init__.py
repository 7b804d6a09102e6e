"""Who: people, their teams, and the keys that call."""
