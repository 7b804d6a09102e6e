"""What the code as a whole has to be: who imports whom, how long things are, what README says."""
