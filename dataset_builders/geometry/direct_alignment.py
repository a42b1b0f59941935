"""Cameras that stand still before few corners, found from every edge of the picture instead of from tracks.

A plain wall has hardly a corner, but the line where it meets the floor tells whether the camera moves across it. The
picture is divided into tiles, and in each the shift against the clip's typical picture is measured by least squares on
the gradients (Lucas and Kanade, 1981), along the directions in which the tile has edges.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from PIL import Image

from .point_tracks import TRACK_SIDE, free_pixels, grey_pictures

MIN_TILE_SHARE = 0.25  # of the tiles with edges, all over the picture, while others move by themselves
_MAX_SHIFT = 0.5  # pixels of a picture 640 wide, between any two frames
_TILE = 48  # pixels of a picture 640 wide
_TITLES = 0.12  # of a picture's height, at its top and bottom, where a name, a clock or a ticker may be drawn onto it
_SMOOTHING = 1.0  # pixels
_SHADING = 43  # pixels: what changes over more is light, haze, or the dark corners of a lens
_MIN_GRADIENT = 2.5  # grey levels a pixel; codecs may hold fainter patterns in place while a camera moves
_MIN_PIXELS = 24  # of such a gradient, in a tile
_MAX_MISMATCH = 0.5  # of what a shift by one pixel does to the grey values; more is another thing before the tile
_SECOND_WAY = 0.2  # of the squared gradients along the strongest direction, that another one needs to be measured
_MIN_CALM = 0.7  # of the frames, in which nothing passes before a tile that stands
_MIN_HELD = 1.5  # standing tiles, in each half of the picture, that hold it in each direction
_FULL_LINE = 0.9  # of a row or column, along which no edge of the scene is as straight as the picture's own
_LINE_MARGIN, _DRAWN_MARGIN = 4, 7  # pixels about such lines, and about what is drawn onto the picture


@dataclass(frozen=True)
class _Tile:
    """Shifts of a tile along the directions in which it has edges.

    Attributes:
        place (`np.ndarray` of shape `(2,)`): Its middle, in shares of the picture's width and height.
        directions (`np.ndarray` of shape `(D, 2)`): One or two unit vectors.
        shifts (`np.ndarray` of shape `(T, D)`): Against the typical picture, in pixels of a picture 640 wide.
        calm (`np.ndarray` of shape `(T,)`, bool): Whether a shift explains the frame.
    """

    place: np.ndarray
    directions: np.ndarray
    shifts: np.ndarray
    calm: np.ndarray

    @property
    def stands(self) -> bool:
        """Whether it is in one place in all the frames in which nothing else is before it."""
        return bool(self.calm.mean() >= _MIN_CALM and (np.ptp(self.shifts[self.calm], axis=0) < _MAX_SHIFT).all())


def standing_tile_share(frames: Sequence[Image.Image], masks: Sequence[np.ndarray | None] | None = None) -> float:
    """Share of the tiles with edges that stay within half a pixel, if these hold the whole picture in place; else 0.

    They hold it if in each half of the picture their edges run in several directions, so that a camera that turns,
    rolls, zooms or moves would shift some of them. Not counted are faint patterns, the top and the bottom of the
    picture, and what is drawn onto it: lines along whole rows or columns, and pixels that never change while most do.

    Args:
        frames (`Sequence[PIL.Image.Image]`): Frames of one size.
        masks (`Sequence[np.ndarray | None]`, *optional*): For each frame a boolean array `(height, width)`, true on
            moving objects: one that a camera follows keeps its place in the picture.
    """
    tiles = _measure_tiles(frames, masks)
    standing = [tile for tile in tiles if tile.stands]
    if not standing or not _hold_picture(standing):
        return 0.0
    calm = np.mean([tile.calm for tile in standing], axis=0)
    return len(standing) / len(tiles) if calm.min() >= 0.5 else 0.0  # else the whole picture is elsewhere for a moment


def _hold_picture(tiles: Sequence[_Tile]) -> bool:
    """Whether in each half of the picture every direction is measured by enough tiles."""
    places = np.stack([tile.place for tile in tiles])
    held = np.stack([tile.directions.T @ tile.directions for tile in tiles])
    halves = [half for axis in (0, 1) for half in (places[:, axis] < 0.5, places[:, axis] >= 0.5)]
    return all(np.linalg.eigvalsh(held[half].sum(axis=0))[0] >= _MIN_HELD for half in halves)


def _measure_tiles(frames: Sequence[Image.Image], masks: Sequence[np.ndarray | None] | None) -> list[_Tile]:
    """The tiles that have edges."""
    pictures, _ = grey_pictures(frames)
    smooth = np.stack([cv2.GaussianBlur(picture.astype(np.float32), (0, 0), _SMOOTHING) for picture in pictures])
    typical = _without_shading(np.median(smooth, axis=0))
    slopes = np.stack([cv2.Sobel(typical, cv2.CV_32F, *order, ksize=1, scale=0.5) for order in ((1, 0), (0, 1))], -1)
    edges = (np.linalg.norm(slopes, axis=-1) >= _MIN_GRADIENT) & ~_drawn_pixels(np.stack(pictures))
    changes = np.stack([_without_shading(picture) - typical for picture in smooth])
    height, width = typical.shape
    if masks is not None:
        edges &= np.mean([free_pixels(mask, (width, height)) > 0 for mask in masks], axis=0) >= _MIN_CALM
    unit = TRACK_SIDE / max(width, height)
    (left_bar, right_bar), (top_bar, bottom_bar) = (_bars(slopes[..., axis], axis) for axis in (0, 1))
    side, titles = max(1, round(_TILE / unit)), round(_TITLES * (bottom_bar - top_bar))
    tiles = []
    for top in range(top_bar + titles, bottom_bar - titles - side // 2, side):
        for left in range(left_bar, right_bar - side // 2, side):
            tile = (slice(top, min(top + side, bottom_bar - titles)), slice(left, min(left + side, right_bar)))
            chosen = edges[tile]
            if chosen.sum() >= _MIN_PIXELS:
                place = (np.array([left, top]) + side / 2) / (width, height)
                tiles.append(
                    _fit_tile(place, slopes[tile][chosen], typical[tile][chosen], changes[:, *tile][:, chosen], unit)
                )
    return tiles


def _fit_tile(place: np.ndarray, slopes: np.ndarray, values: np.ndarray, changes: np.ndarray, unit: float) -> _Tile:
    """Shifts by least squares, beside a change of brightness and one of contrast.

    Args:
        slopes (`np.ndarray` of shape `(N, 2)`): Gradients of the typical picture.
        values (`np.ndarray` of shape `(N,)`): Its grey values.
        changes (`np.ndarray` of shape `(T, N)`): By how much those of the frames differ.
        unit (`float`): Pixels of a picture 640 wide in one of these.
    """
    light = np.column_stack([np.ones(len(values)), values])
    slopes, changes = (part - light @ np.linalg.lstsq(light, part, rcond=None)[0] for part in (slopes, changes.T))
    power, directions = np.linalg.eigh(slopes.T @ slopes / len(slopes))
    directions = directions[:, power >= _SECOND_WAY * power[1]]
    along = slopes @ directions
    steps = np.linalg.lstsq(along, changes, rcond=None)[0]
    mismatch = np.sqrt(np.mean((changes - along @ steps) ** 2, axis=0))
    return _Tile(place, directions.T, -unit * steps.T, mismatch <= _MAX_MISMATCH / unit * np.sqrt(power[1]))


def _without_shading(picture: np.ndarray) -> np.ndarray:
    return picture - cv2.blur(picture, (_SHADING, _SHADING))


def _bars(slopes: np.ndarray, axis: int) -> tuple[int, int]:
    """Where the picture begins and ends along columns (0) or rows (1), between bars or within a frame.

    Args:
        slopes (`np.ndarray` of shape `(height, width)`): Of the typical picture, along the axis.
    """
    lines = np.flatnonzero((np.abs(slopes) >= _MIN_GRADIENT).mean(axis=axis) > _FULL_LINE)
    side = slopes.shape[1 - axis]
    before, after = lines[lines < side / 2], lines[lines >= side / 2]
    return max(before, default=-_LINE_MARGIN) + _LINE_MARGIN, min(after, default=side + _LINE_MARGIN) - _LINE_MARGIN


def _drawn_pixels(grey: np.ndarray) -> np.ndarray:
    """Pixels that never change in any frame, with a margin, if most others do."""
    constant = (grey == grey[0]).all(axis=0)
    if constant.mean() > 0.5:  # a codec holds all of a still picture
        return np.zeros_like(constant)
    patches = cv2.morphologyEx(constant.astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    return cv2.dilate(patches, np.ones((_DRAWN_MARGIN, _DRAWN_MARGIN), np.uint8)) > 0
