"""Tell people's servers what happened: endpoints, deliveries, signatures, retries."""
