"""The plugin API: specs of each kind, hooks, cells, and the catalog of installed plugins. Imports no torch.

May import errors, seeding, progress.
"""
