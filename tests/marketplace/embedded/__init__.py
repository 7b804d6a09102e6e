"""The supervisor and its servers, with real processes."""
