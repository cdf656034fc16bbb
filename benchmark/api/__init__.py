"""The plugin API: one file of specs per kind of plugin, hooks, cells, and the catalog of installed plugins.

May import errors, seeding, progress and stats. Imports no torch.
"""
