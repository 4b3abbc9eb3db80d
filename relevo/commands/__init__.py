"""The commands of the command line, each with its arguments.

Their own imports stand inside them: `relevo --help` waits for nothing.
"""
