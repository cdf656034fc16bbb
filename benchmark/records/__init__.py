"""Records on disk: record.json of each cell, locks, archives, the index of an output folder, leaderboards.

May import `benchmark.api`, `benchmark.errors`, `benchmark.progress` and `benchmark.stats`.
"""
