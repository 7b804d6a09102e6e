"""What labs are owed: agreements, shares, statements, price proposals, invoices."""
