"""Runs in other people's dashboards: one small interface, an adapter for each."""
