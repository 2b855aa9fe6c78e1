"""The public Python API over the parts of the package; `claude_force` loads each name when it is first used."""
