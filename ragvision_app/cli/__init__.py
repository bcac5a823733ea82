"""The command line: one module a group of commands, each of which imports what it needs when it runs.

``--help`` therefore answers at once, and a command never pays for the models of another.
"""
