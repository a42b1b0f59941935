"""The folder that `evaluate.load` takes, and that can be pushed to the Hub as it is."""
