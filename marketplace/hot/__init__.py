"""The small ASGI application that serves runs: short, asynchronous, without ORM or middleware."""
