"""Build rows from video files in resumable stages, with each stage's result on disk."""
