"""Statistics as plain functions on arrays: intervals, comparisons, multiple testing, rank correlation. No I/O.

May import nothing of repbench but errors and seeding.
"""
