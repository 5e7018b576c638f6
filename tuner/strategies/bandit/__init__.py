"""Bandits: several fidelities spent well, and a choice for every next instance of a stream."""
