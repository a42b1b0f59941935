"""Video files as a source of rows: which files count as one. How they are decoded is [`modeling.video_decoding`]."""

from ...modeling.video_decoding import FrameTimestampError, check_video, read_frames

_NAMES = "3gp asf avi flv gif m2ts m2v m4v mkv mov mp4 mpeg mpg mts ogv ts vob webm webp wmv"
VIDEO_SUFFIXES = frozenset(f".{name}" for name in _NAMES.split())

__all__ = ["VIDEO_SUFFIXES", "FrameTimestampError", "check_video", "read_frames"]
