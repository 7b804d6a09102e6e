"""What is on sale: labs, models and their immutable releases."""
