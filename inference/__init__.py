"""The GPU side: a worker process, its engine, its models. No Django, nothing of the marketplace."""
