"""Double entry in nano-units: accounts, transfers, holds."""
