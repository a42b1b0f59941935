"""Decoding in a child process: files from outside crash decoders, hang them and exhaust memory."""

from pathlib import Path

from ...modeling.clip import Clip
from ...modeling.errors import InputError
from ...modeling.video_file import COPY_AGAIN, VideoError
from ..child_process import ChildProcess, memory_ran_out
from ..clip_error import ClipError
from ..clip_record import Window
from .windows import MAX_WINDOWS, WINDOW_PIXELS, WindowSearch, read_window, search_windows


class DecodingProcess(ChildProcess):
    """[`find_windows`] and [`read_window`] in a child process; for the arguments see [`ChildProcess`].

    Example:

    ```python
    with DecodingProcess(time_limit=120) as decoder:
        for window in decoder.find_windows(Path("clip.mp4"), seed=0):
            clip = decoder.read_window(Path("clip.mp4"), window)
    ```
    """

    def __init__(self, **limits):
        super().__init__("decoder", modules=("av", "cv2", "scenedetect.detectors", __name__), **limits)

    def search_windows(self, path: Path, seed: int = 0, max_windows: int = MAX_WINDOWS) -> WindowSearch:
        """What [`windows.search_windows`] gives: windows, and the shots that are too short for one.

        Raises:
            ClipError: Whatever is wrong with the file, `too_short`, `crashed`, `timeout` or `memory`.
        """
        return self.call(_coded, search_windows, path, seed, max_windows)

    def find_windows(self, path: Path, seed: int = 0, max_windows: int = MAX_WINDOWS) -> list[Window]:
        """The windows alone; raises as [`search_windows`]."""
        return self.search_windows(path, seed, max_windows).windows

    def read_window(self, path: Path, window: Window, max_pixels: int = WINDOW_PIXELS) -> Clip:
        """What [`windows.read_window`] gives; raises as [`search_windows`]."""
        return self.call(_coded, read_window, path, window, max_pixels)


def _coded(function, path: Path, *args):
    try:
        return function(path, *args)
    except ClipError:
        raise
    except VideoError as error:
        if error.code == "memory" or memory_ran_out():
            raise MemoryError from error
        raise ClipError(error.code, error.reason, error.remedy) from error
    except InputError as error:  # a window of another file
        raise ClipError("damaged", str(error), COPY_AGAIN) from error
