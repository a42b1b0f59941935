"""How an answer is decoded, and what the server takes at most."""

from dataclasses import dataclass

from ...modeling.processing import MAX_FRAMES


@dataclass(frozen=True)
class GenerationSettings:
    """How one answer is decoded.

    Attributes:
        max_tokens (`int`): Longest answer, latents included.
        temperature (`float`): Divides the logits; 0 takes the likeliest token.
        top_p (`float`): Only the likeliest tokens that hold this share of the probability.
        seed (`int`): Of the draws; the same request with the same seed gets the same answer, whoever is beside it.
        stop (`tuple[str, ...]`): Texts before which the answer ends.
        imagery (`bool`): Make heat maps of the latent blocks.
    """

    max_tokens: int = 512
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    stop: tuple[str, ...] = ()
    imagery: bool = False


@dataclass(frozen=True)
class Limits:
    """What the server takes at most.

    Attributes:
        batch (`int`): Answers decoded at once.
        waiting (`int`): Requests that wait for a place among them; one more is turned away.
        slice_steps (`int`): Tokens that running answers get between two looks at the queue.
        prompt_tokens (`int`): Longest prompt, visual tokens included.
        max_tokens (`int`): Longest answer.
        frames (`int`): Frames of a video.
        video_seconds (`float`): Longest video.
        frame_pixels (`int`): Pixels of a frame that is kept; larger ones are shrunk while they are decoded.
        decode_seconds (`float`): For decoding one video.
        media (`int`): Images and videos of a request.
        image_pixels (`int`): Pixels of an image as it comes; larger ones than the model's are shrunk.
        body_bytes (`int`): A request's body.
        bodies_bytes (`int`): All bodies that are being sent, or wait to be decoded.
        body_seconds (`float`): Until a body has come.
        decoders (`int`): Threads that decode media.
    """

    batch: int = 16
    waiting: int = 64
    slice_steps: int = 4
    prompt_tokens: int = 16384
    max_tokens: int = 2048
    frames: int = MAX_FRAMES
    video_seconds: float = 600.0
    frame_pixels: int = 1920 * 1088
    decode_seconds: float = 30.0
    media: int = 16
    image_pixels: int = 7680 * 4320
    body_bytes: int = 64 << 20
    bodies_bytes: int = 512 << 20
    body_seconds: float = 60.0
    decoders: int = 2
