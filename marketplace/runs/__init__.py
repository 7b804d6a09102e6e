"""Runs, their attempts and outputs: submit, claim, execute, settle, sweep."""
