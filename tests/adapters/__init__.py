"""Adapters of other frameworks: examples of how short one is."""
