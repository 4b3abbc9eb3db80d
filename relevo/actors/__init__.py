"""The actors: one per customer, and the few that look after them. Owns pykka."""
