"""What is told of runs and executions: tables, timelines, graphs. Nothing here prints; some read what stores keep."""
