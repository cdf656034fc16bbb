"""Speed measurements, for `bench speed`: training, evaluators, start-up and the limits of the device.

May import execution, training, evaluation, reports, records and api.
"""
