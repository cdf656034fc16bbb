"""What is on disk: records, locks, archives, the index, leaderboards.

May import api, stats, errors.
"""
