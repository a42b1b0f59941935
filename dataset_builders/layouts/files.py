"""Files from elsewhere, opened so that nothing in them runs, fills the memory or leads out of the source."""

import io
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from ...modeling.errors import first_line
from ..clip_error import ClipError

MAX_BYTES = 2**31  # of one array, unpacked
_MAX_TEXT = 2**26
_MAX_PICTURE = 2**26  # bytes of one packed picture
_MAX_PIXELS = 7680 * 4320
# What numpy, zipfile and PIL raise at what they cannot read.
_UNREADABLE = (
    *(OSError, ValueError, KeyError, EOFError, RuntimeError, NotImplementedError, SyntaxError),
    *(zipfile.BadZipFile, zlib.error, Image.DecompressionBombError),
)
_HALF, _FLOAT = np.dtype(np.float16), np.dtype(np.float32)


def damaged(path: Path | str, reason: str, remedy: str = "export it again, or leave the clip out") -> ClipError:
    """The error for a file of a layout that is not as its layout says."""
    return ClipError("damaged", f"{Path(path).name} {reason}", remedy)


def is_inside(path: Path, root: Path) -> bool:
    """Whether a path leads to a place below a folder, links followed."""
    return path.resolve().is_relative_to(root.resolve())


def check_inside(path: Path, root: Path) -> Path:
    """A path that a file names, if it stays below a folder.

    Raises:
        ClipError: `damaged`, if it leads elsewhere.
    """
    if not is_inside(path, root):
        raise damaged(path, f"lies outside {root.name}", "put the files below the source folder")
    return path


@contextmanager
def _name_faults(path: Path) -> Iterator[None]:
    try:
        yield
    except ClipError:
        raise
    except FileNotFoundError as error:
        raise damaged(path, "is missing", "download it, or leave the clip out") from error
    except _UNREADABLE as error:
        raise damaged(path, f"cannot be read ({first_line(error)})") from error


def load_array(path: Path, shape: Sequence[int | None]) -> np.ndarray:
    """An array of numbers in an `.npy` file, of a shape in which `None` stands for any length.

    Raises:
        ClipError: `damaged`, also for an array of objects, which is a pickle.
    """
    with _name_faults(path):
        with path.open("rb") as file:
            _check_header(path, file)
            file.seek(0)
            array = np.load(file, allow_pickle=False)
    return _check_array(path, path.stem, array, shape)


def load_arrays(path: Path, shapes: dict[str, Sequence[int | None]]) -> dict[str, np.ndarray]:
    """Arrays of an `.npz` file by name, each of its shape.

    Raises:
        ClipError: `damaged`, also where unpacking one would take more than `MAX_BYTES`.
    """
    found = {}
    with _name_faults(path), zipfile.ZipFile(path) as archive:
        for name, shape in shapes.items():
            with archive.open(f"{name}.npy") as file:
                _check_header(path, file)
            with archive.open(f"{name}.npy") as file:
                array = np.lib.format.read_array(file, allow_pickle=False)
            found[name] = _check_array(path, name, array, shape)
    return found


def _check_header(path: Path, file) -> None:
    """Refuse objects and sizes beyond reason before anything is read."""
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise damaged(path, "holds Python objects, which are never opened", "save it as plain arrays of numbers")
    if int(np.prod(shape, dtype=object)) * dtype.itemsize > MAX_BYTES:
        raise damaged(path, f"unpacks to an array of shape {shape}", "leave the clip out")


def _check_array(path: Path, name: str, array: np.ndarray, shape: Sequence[int | None]) -> np.ndarray:
    fits = array.ndim == len(shape) and all(n in (None, m) for n, m in zip(shape, array.shape, strict=True))
    if not fits or array.dtype.kind not in "biuf":
        wanted = " x ".join("n" if side is None else str(side) for side in shape)
        raise damaged(path, f"holds {name} of shape {array.shape} and type {array.dtype}, not numbers {wanted}")
    return array


def read_text(path: Path) -> str:
    """A text file of at most 64 MiB.

    Raises:
        ClipError: `damaged`.
    """
    with _name_faults(path):
        if path.stat().st_size > _MAX_TEXT:
            raise damaged(path, "is larger than 64 MiB")
        return path.read_text(encoding="utf-8-sig")


class PictureArchive:
    """Pictures in a zip file, read one at a time from memory: nothing is unpacked to the disk.

    Args:
        path (`Path`): The file; one that is missing holds nothing.
    """

    def __init__(self, path: Path):
        self.path = path
        self._archive: zipfile.ZipFile | None = None
        if path.is_file():
            with _name_faults(path):
                self._archive = zipfile.ZipFile(path)
        self._names = set(self._archive.namelist()) if self._archive else set()

    def __bool__(self) -> bool:
        return bool(self._names)

    def numbers(self, path: str) -> np.ndarray | None:
        """The whole numbers of a PNG of one channel, `(height, width)`; `None` where there is no such file.

        Raises:
            ClipError: `damaged`.
        """
        packed = self._bytes(path)
        if packed is None:
            return None
        with _name_faults(self.path), Image.open(io.BytesIO(packed), formats=("PNG",)) as picture:
            if picture.width * picture.height > _MAX_PIXELS or picture.mode not in ("1", "L", "P", "I", "I;16"):
                raise damaged(self.path, f"holds {path} with {picture.size} pixels of {picture.mode}")
            return np.asarray(picture).astype(np.int64)

    def depths(self, path: str) -> np.ndarray | None:
        """The channel `Z` of an OpenEXR picture, `(height, width)`; `None` where it is missing or broken."""
        packed = self._bytes(path)
        return None if packed is None else read_exr(packed)

    def _bytes(self, path: str) -> bytes | None:
        if path not in self._names or self._archive is None:
            return None
        with _name_faults(self.path):
            if self._archive.getinfo(path).file_size > _MAX_PICTURE:
                raise damaged(self.path, f"unpacks {path} to more than 64 MiB")
            return self._archive.read(path)


def read_exr(packed: bytes) -> np.ndarray | None:
    """The channel `Z` of an OpenEXR file, `(height, width)` float32; `None` if the file is broken or has none."""
    import OpenEXR

    try:
        opened = OpenEXR.InputFile(io.BytesIO(packed))
        header = opened.header()
        low, high = header["dataWindow"].min, header["dataWindow"].max
        width, height = high.x - low.x + 1, high.y - low.y + 1
        if width * height > _MAX_PIXELS or "Z" not in header["channels"]:
            return None
        pixels = opened.channel("Z")
    except (OSError, RuntimeError, ValueError, TypeError):
        return None
    dtype = {2: _HALF, 4: _FLOAT}.get(len(pixels) // (width * height))
    if dtype is None or len(pixels) != width * height * dtype.itemsize:
        return None
    return np.frombuffer(pixels, dtype).reshape(height, width).astype(np.float32)
