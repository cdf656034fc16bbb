"""Statistics as plain functions on arrays: intervals, comparisons, multiple testing, rank correlation. No I/O.

Of repbench, it may import only errors and seeding.
"""
