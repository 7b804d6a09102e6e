"""The stack on one machine: the supervisor and the processes it is the parent of."""
