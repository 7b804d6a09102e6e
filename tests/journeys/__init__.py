"""Whole journeys through a stack of its own: every room, the rehearsal lab, real money."""
