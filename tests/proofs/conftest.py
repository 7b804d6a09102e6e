"""A model on sale, as in the tests of the marketplace."""

from tests.marketplace.conftest import still

__all__ = ["still"]
