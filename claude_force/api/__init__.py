"""The public Python API: `claude_force` loads each name from here when it is first used."""
