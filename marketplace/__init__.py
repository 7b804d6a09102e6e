"""Everything with a database row or a page: accounts, catalog, money, runs, APIs."""
