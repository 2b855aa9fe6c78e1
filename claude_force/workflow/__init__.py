"""Workflow files: tables become steps, with their order, their conditions and the names in their texts."""
