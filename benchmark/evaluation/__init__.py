"""Frozen features and their evaluation, with leakage checks.

May import records, api, stats, images, encoder. Never training.
"""
