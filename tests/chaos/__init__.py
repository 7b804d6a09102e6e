"""Kill real processes under load, by seed, and check that no run and no cent is lost."""
