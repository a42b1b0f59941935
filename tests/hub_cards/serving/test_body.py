"""Bodies are read within limits, in whatever pieces they come."""

import asyncio

import pytest

pytest.importorskip("fastapi", reason="the endpoint needs the serve extra")
from starlette.requests import Request  # noqa: E402

from fourdthinker.hub_cards.serving.body import BodyReader  # noqa: E402
from fourdthinker.hub_cards.serving.events import Busy, TooLarge  # noqa: E402
from fourdthinker.hub_cards.serving.settings import Limits  # noqa: E402


def read_pieces(pieces: list[bytes], **limits: int) -> bytes:
    """What the reader makes of a body that comes in these pieces."""
    messages = [
        {"type": "http.request", "body": piece, "more_body": number < len(pieces) - 1}
        for number, piece in enumerate(pieces)
    ]

    async def receive():
        return messages.pop(0)

    scope = {"type": "http", "headers": [(b"content-type", b"application/json")]}
    reader = BodyReader(Limits(**limits))
    try:
        return asyncio.run(reader.read(Request(scope, receive)))
    finally:
        assert not messages  # a client that is still sending would not see the answer


@pytest.mark.parametrize("sizes", [[9], [4, 5], [9, 4, 5], [4, 5, 9]])
def test_a_body_over_a_limit_is_refused_wherever_its_last_piece_ends(sizes):
    pieces = [b"a" * size for size in sizes]
    with pytest.raises(TooLarge):
        read_pieces(pieces, body_bytes=8)
    with pytest.raises(Busy):
        read_pieces(pieces, bodies_bytes=8)
    assert read_pieces(pieces, body_bytes=sum(sizes)) == b"".join(pieces)
