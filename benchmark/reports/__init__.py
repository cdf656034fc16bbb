"""Records to tables: aggregation over seeds, ranks, published figures, output formats.

May import records, api, stats.
"""
