"""What the database tests of this package share."""

import tests.flush  # noqa: F401 - the append-only guards refuse a plain flush
