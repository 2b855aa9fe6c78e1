"""The data path of a run: a plan goes in, requests go out, an outcome comes for each step."""
