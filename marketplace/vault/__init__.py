"""The secrets by which labs know us: anybody may lock one away, the supplier alone opens them."""
