"""Questions, options and reasoning, written from facts."""
