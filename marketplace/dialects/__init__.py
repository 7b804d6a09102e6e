"""Wire languages of clients ↔ runs. One file per client; none knows sockets or SQL."""
