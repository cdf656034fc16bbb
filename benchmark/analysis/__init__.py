"""Analysis of records: comparison, regression check, rank correlation, similarity search and maps of features.

May import reports, evaluation, records, stats, api.
"""
