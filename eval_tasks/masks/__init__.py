"""Scores of predicted masks; imports neither torch nor lmms_eval."""
