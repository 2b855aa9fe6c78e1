"""Run Claude agents, skills and workflows from a terminal, a script, CI or cron."""

__version__ = "0.1.0"
