"""What a user can ask for: a function for each command, its options beside it.

A command takes the parsed arguments and the workspace and returns a Result; it neither prints nor exits.
"""
