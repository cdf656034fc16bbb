"""Reports on records: aggregation over seeds, ranks, cost, published figures, and their text in each output format.

May import `benchmark.records`, `benchmark.api` and `benchmark.stats`.
"""
