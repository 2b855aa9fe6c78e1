"""Wiring: a project's settings, library, stores and connections, opened on first use and closed together."""
