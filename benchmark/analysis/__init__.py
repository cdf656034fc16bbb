"""Questions asked of records: comparison, gate, correlation, neighbors, projections.

May import reports, evaluation, records, stats, api.
"""
