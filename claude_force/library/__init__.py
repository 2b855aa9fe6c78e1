"""Files of agents, skills and workflows: found by name, read, and checked."""
