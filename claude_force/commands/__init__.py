"""What a user can ask for: a function for each command, its options beside it.

A command takes the parsed arguments and the workspace and returns a Result; it does not exit, and prints nothing
itself: what is shown while it goes on, as an answer or a long export, it hands to the workspace's screen.
"""
