"""What the beat runs here: the months that are over are closed every night."""

from marketplace.celery import app
from marketplace.payouts.close import close_due


@app.task(name="kinora.close_months")
def close_months() -> None:
    close_due()
