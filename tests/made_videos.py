"""Small odd videos for tests, made with PyAV: every kind that cameras, phones, recorders and editors write."""

import io
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

SIZE = (64, 48)
ONE, LAST = 1 << 16, 1 << 30
WIDE, HIGH = SIZE[0] << 16, SIZE[1] << 16
# Display matrices: all eight ways in which a picture may lie, and one that is no multiple of a quarter turn.
MATRICES = {
    "as stored": (ONE, 0, 0, 0, ONE, 0, 0, 0, LAST),
    "mirrored left to right": (-ONE, 0, 0, 0, ONE, 0, WIDE, 0, LAST),
    "mirrored top to bottom": (ONE, 0, 0, 0, -ONE, 0, 0, HIGH, LAST),
    "half turn": (-ONE, 0, 0, 0, -ONE, 0, WIDE, HIGH, LAST),
    "quarter turn right": (0, ONE, 0, -ONE, 0, 0, HIGH, 0, LAST),
    "quarter turn left": (0, -ONE, 0, ONE, 0, 0, 0, WIDE, LAST),
    "transposed": (0, ONE, 0, ONE, 0, 0, 0, 0, LAST),
    "transposed and turned": (0, -ONE, 0, -ONE, 0, 0, HIGH, WIDE, LAST),
}


def picture(number: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Smooth colours without any symmetry, which drift from frame to frame; shape `(height, width, 3)`."""
    width, height = size
    x, y = np.meshgrid(np.linspace(0, 1, width), np.linspace(0, 1, height))
    shift = number * 0.07
    channels = (
        255 * (0.5 + 0.5 * np.sin(5 * x + 3 * shift)) * (1 - 0.6 * y),
        255 * (0.5 + 0.5 * np.sin(4 * y - 2 * shift)) * x,
        255 * (0.5 + 0.5 * np.cos(3 * x * y + shift)),
    )
    image = np.stack(channels, axis=-1)
    image[: height // 4, : width // 3] = 235  # a white corner: upper left
    return image.clip(0, 255).astype(np.uint8)


def encode(
    path: Path,
    count: int = 12,
    rate: int = 10,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    size: tuple[int, int] = SIZE,
    options: dict[str, str] | None = None,
    container: dict[str, str] | None = None,
    milliseconds: list[int] | None = None,
    aspect: Fraction | None = None,
    matrix: int | None = None,
    full_range: bool = False,
    draw: Callable[..., np.ndarray] = picture,
    drawn: str = "rgb24",
) -> Path:
    """Write `count` frames, or one for each of `milliseconds`; `matrix` is FFmpeg's number of a colour matrix."""
    count = len(milliseconds) if milliseconds else count
    with av.open(str(path), "w", container_options=container or {}) as out:
        stream = out.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt, stream.options = *size, pixels, options or {}
        if milliseconds:
            stream.codec_context.time_base = Fraction(1, 1000)
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        if matrix is not None:
            stream.codec_context.colorspace = matrix
        if full_range:
            stream.codec_context.color_range = 2
        for number in range(count):
            frame = av.VideoFrame.from_ndarray(draw(number, size), format=drawn).reformat(format=pixels)
            if matrix is not None:
                frame.colorspace = matrix
            if full_range:
                frame.color_range = 2
            if milliseconds:
                frame.pts, frame.time_base = milliseconds[number], Fraction(1, 1000)
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def _atoms(data: bytes, start: int, end: int):
    while start + 8 <= end:
        size, kind = struct.unpack(">I4s", data[start : start + 8])
        yield kind.decode("latin1"), start, size
        start += size


def find_atom(data: bytes, *names: str, start: int = 0, end: int | None = None) -> tuple[int, int]:
    """Place and size of an MP4 box, named by the boxes that lead to it."""
    for kind, place, size in _atoms(data, start, len(data) if end is None else end):
        if kind == names[0]:
            return (place, size) if len(names) == 1 else find_atom(data, *names[1:], start=place + 8, end=place + size)
    raise AssertionError(f"no box {names}")


def trim(path: Path) -> Path:
    """Let the edit list of an MP4 of 40 frames show seconds 1.5 to 2.5, as a lossless trim on a phone does."""
    encode(path, count=40, options={"g": "10", "bf": "2"})
    data = bytearray(path.read_bytes())
    place, _ = find_atom(data, "moov", "trak", "edts", "elst")
    lead = struct.unpack(">i", data[place + 20 : place + 24])[0]
    mdhd, _ = find_atom(data, "moov", "trak", "mdia", "mdhd")
    mvhd, _ = find_atom(data, "moov", "mvhd")
    media, movie = (struct.unpack(">I", data[at + 20 : at + 24])[0] for at in (mdhd, mvhd))
    data[place + 16 : place + 24] = struct.pack(">Ii", movie, lead + int(1.5 * media))
    path.write_bytes(data)
    return path


def set_matrix(path: Path, name: str, **arguments) -> Path:
    """An MP4 with one of `MATRICES`."""
    encode(path, **{"count": 3, **arguments})
    data = bytearray(path.read_bytes())
    place, _ = find_atom(data, "moov", "trak", "tkhd")
    data[place + 48 : place + 84] = b"".join(struct.pack(">i", value) for value in MATRICES[name])
    path.write_bytes(data)
    return path


def record_sound(path: Path) -> Path:
    """A short MP4 with sound alone."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=16000)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return path


def add_cover(path: Path, make: Callable[[Path], Path] = encode) -> Path:
    """An MP4 whose cover art stands before its track, so that it is listed as stream 0."""
    make(path)
    jpeg = io.BytesIO()
    Image.new("RGB", (2 * SIZE[0], 2 * SIZE[1]), "red").save(jpeg, "JPEG")

    def atom(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body) + 8) + kind + body

    cover = atom(b"covr", atom(b"data", struct.pack(">II", 13, 0) + jpeg.getvalue()))
    handler = atom(b"hdlr", bytes(8) + b"mdir" + b"appl" + bytes(9))
    udta = atom(b"udta", atom(b"meta", bytes(4) + handler + atom(b"ilst", cover)))
    data = path.read_bytes()
    place, size = find_atom(data, "moov")
    mvhd, length = find_atom(data, "moov", "mvhd")
    assert place + size == len(data)  # the index stands last, so nothing in it moves
    head, rest = data[place + 4 : mvhd + length], data[mvhd + length :]
    path.write_bytes(data[:place] + struct.pack(">I", size + len(udta)) + head + udta + rest)
    return path


def join(path: Path, *parts: Path) -> Path:
    """Recordings one after another, as `cat` joins them: their clocks start anew."""
    path.write_bytes(b"".join(part.read_bytes() for part in parts))
    return path


def cut(path: Path, share: float) -> Path:
    """A copy of the first part of a file."""
    short = path.with_name(f"cut_{path.name}")
    short.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return short


def animate(path: Path, count: int = 6, milliseconds: int = 80) -> Path:
    """An animated GIF or WebP, by PIL."""
    images = [Image.fromarray(picture(number)) for number in range(count)]
    more = {"lossless": True} if path.suffix == ".webp" else {}
    images[0].save(path, save_all=True, append_images=images[1:], duration=milliseconds, loop=0, **more)
    return path


def write_video(path, clip, rate) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"crf": "12"})
        stream.width, stream.height = clip.frames[0].size
        stream.pix_fmt = "yuv420p"
        for frame in clip.frames:
            container.mux(stream.encode(av.VideoFrame.from_image(frame)))
        container.mux(stream.encode())


def truck(wall_clip, metres):
    """1.6 s of a camera that moves sideways by so many metres, its frames 16:9."""
    poses = np.tile(np.eye(4), (8, 1, 1))
    poses[:, 0, 3] = np.linspace(0, metres, 8)
    poses[:, 1, 3] = 0.05 * np.sin(np.arange(8))
    for pose, angle in zip(poses, np.radians(1) * np.sin(np.arange(8)), strict=True):
        pose[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    return wall_clip(poses, size=(480, 270))
