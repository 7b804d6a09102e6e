"""One file per lab: its adapter, and beside it a `.json` file with what it says of its models."""
