"""The command line: one file per group of commands. The only package that imports click.

May import every package but testing.
"""
