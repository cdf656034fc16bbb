"""The training loop: batches, optimizer, losses, checkpoints, acceleration.

May import api, records, images, encoder, seeding, progress. Never evaluation.
"""
