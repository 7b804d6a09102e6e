"""How the weights that ship here were made."""
