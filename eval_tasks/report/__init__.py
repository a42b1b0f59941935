"""Reports of evaluations: both readings, paired comparisons, tables, pictures. Imports neither torch nor lmms_eval."""
