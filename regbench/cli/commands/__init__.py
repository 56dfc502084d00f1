"""One file a command: its words and its help; what `run` then does is in `cli/running.py`, and so on."""
