"""Carry out requests, and report on runs.

    Request --plan--> Plan --survey--> PendingCell --runner--> Outcome, Record --summary--> RunResult

`session.run` is this chain. A cell itself is `cell.run_cell`: load the dataset, train, extract features, score, write.
`status`, `plan_report` and `verify` report on runs that are active, planned or done.

May import training, evaluation, reports, records, stats, api, and modules of the package root.
"""
