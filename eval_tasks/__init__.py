"""Benchmarks: readers, answer extraction and scores. Importing this loads neither torch nor lmms_eval."""

from .answers import extract_answer
from .scores import format_scores, score

__all__ = ["extract_answer", "format_scores", "score"]
