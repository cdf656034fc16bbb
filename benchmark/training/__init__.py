"""The training loop: batches, optimizer, losses, checkpoints, acceleration.

May import api, images, encoder, seeding, progress. Never evaluation.
"""
