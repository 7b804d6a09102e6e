"""What the seed sells, by name: its order is its own."""

from marketplace.catalog.models import Release
from marketplace.embedded import seed


def put(model: str) -> Release:
    """`rehearsal/still` on sale."""
    [found] = [sale for sale in seed.SALES if f"{sale.lab}/{sale.slug}" == model]
    return seed.put_on_sale(found)
