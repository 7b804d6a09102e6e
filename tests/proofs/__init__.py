"""Long generated proofs, run by `make prove` and never by `make test`."""
