"""Tell a queue's workers that a run waits. Stands in until there is a broker to tell."""


def publish(queue: str) -> None:
    """Say nothing; the sweeper hints what the outbox holds."""
