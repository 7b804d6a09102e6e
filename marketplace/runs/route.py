"""Who executes a release's runs, and why. The reason is kept on the run and shown to its team.

`partner`: a lab's API does it. `warm` or `cold`: one of our GPU workers does, with the model loaded
or not; that is known when it is claimed and written by `claim.sql`.
"""

HOUSE = "house"


def first_route(adapter: str, queue: str) -> dict[str, str]:
    """What is known when a run is admitted."""
    return {
        "supplier": adapter,
        "queue": queue,
        "reason": "waiting for a worker" if adapter == HOUSE else "partner",
    }
