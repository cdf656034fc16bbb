"""From a request to records: plan, run cells, resume, status, verify.

May import training, evaluation, reports, records, api, stats.
"""
