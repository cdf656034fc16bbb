"""Speed measurements as ratios measured side by side: `bench speed`.

May import execution, training, evaluation, reports, records, api.
"""
