"""How each lab in the registry speaks, after its public reference: one `SHAPE` a file."""
