"""Settings: `claude.json` of the user and of a project, and the environment, checked and put together."""
