"""Read the bodies of requests within limits of size, time and memory."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import Request
from starlette.requests import ClientDisconnect

from .events import Busy, ClientGone, TooLarge, TooSlow, UnsupportedType
from .settings import Limits


class BodyReader:
    """Reads bodies.

    Args:
        limits ([`Limits`]): Size and seconds of one body, and the memory for all that are being read.
    """

    def __init__(self, limits: Limits):
        self._limits, self._held = limits, 0

    async def read(self, request: Request) -> bytes:
        """The body of a request; its memory counts until [`~BodyReader.release`].

        Raises:
            UnsupportedType: If it is no JSON by its header.
            TooLarge: If it is larger than one may be; the rest is read and dropped, so that the client sees this.
            TooSlow: If it does not come in time.
            Busy: If there is no memory for it.
        """
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        encoding = request.headers.get("content-encoding", "identity")
        if kind != "application/json" or encoding != "identity":
            await self.skip(request)
            raise UnsupportedType("send the body as application/json, without content-encoding")
        body = bytearray()
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                await self._collect(request, body)
        except BaseException as error:
            self.release(body)
            if isinstance(error, ClientDisconnect):
                raise ClientGone("the client went away") from None
            if isinstance(error, TimeoutError):
                raise TooSlow(f"the body did not come within {self._limits.body_seconds:.0f} s") from None
            raise
        return bytes(body)

    def release(self, body: bytes | bytearray) -> None:
        """Count a body no longer."""
        self._held -= len(body)

    async def _collect(self, request: Request, body: bytearray) -> None:
        pieces = request.stream()
        async for piece in pieces:
            body += piece
            self._held += len(piece)
            if len(body) > self._limits.body_bytes:
                await self._drop(pieces)
                raise TooLarge(f"the body is larger than {self._limits.body_bytes >> 20} MiB")
            if self._held > self._limits.bodies_bytes:
                await self._drop(pieces)
                raise Busy("too much is being sent already: try again later")

    async def skip(self, request: Request) -> None:
        """Read and drop a body, as long as a client may take to send one, so that it gets to the answer."""
        await self._drop(request.stream())

    async def _drop(self, pieces: AsyncIterator[bytes]) -> None:
        # A stream that has begun is passed on: Starlette does not open one twice once its last piece has come.
        try:
            async with asyncio.timeout(self._limits.body_seconds):
                async for _ in pieces:
                    pass
        except (TimeoutError, ClientDisconnect):
            return
