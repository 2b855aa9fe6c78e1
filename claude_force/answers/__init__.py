"""The form that an answer must have: JSON Schema, the patterns in it, and lists."""
