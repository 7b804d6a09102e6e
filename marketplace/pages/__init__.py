"""HTML: what people see. Reads rooms, writes through their verbs."""
