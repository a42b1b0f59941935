"""What a page takes at most."""

from dataclasses import dataclass


@dataclass(frozen=True)
class PageLimits:
    """What a page takes at most.

    Attributes:
        seconds (`float`): Longest video.
        bytes (`int`): Its file.
        frames (`int`): Frames of it that are shown to the model.
        visitors (`int`): Questions that are being answered or wait; one more is turned away.
        running (`int`): Questions answered at once.
        tokens (`int`): Longest answer, latents included.
    """

    seconds: float = 60.0
    bytes: int = 64 << 20
    frames: int = 32
    visitors: int = 24
    running: int = 8
    tokens: int = 512

    @property
    def megabytes(self) -> int:
        """The file's limit in MB."""
        return self.bytes >> 20
