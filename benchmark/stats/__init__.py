"""Statistics as plain functions on arrays: intervals, comparisons, multiple testing. No I/O.

May import nothing of repbench but errors and seeding.
"""
