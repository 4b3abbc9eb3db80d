"""Relevo: one actor per WhatsApp customer, and an AI that knows what the humans said.

The modules in this folder are the core: pure, without clock, I/O or chance. The folders are the
shell: `actors/` runs the core, `store/` keeps it, `http/` speaks to the world, `metrics/` watches.
They live inside one package because a top-level package called `http` would shadow Python's own.
"""

__version__ = "0.1.0"
