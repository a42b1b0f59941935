"""Columns of a cache while answers decode that see latents alone: what each is, and which can be dropped.

See `answer_mask` for the rule.
"""

from collections.abc import Sequence

import torch
from torch.nn import functional

from .answer_mask import ANSWER, PADDING, check_answer_settings, response_roles, token_roles, visible_roles
from .latent_rules import LatentRules


class AnswerColumns:
    """Columns of a cache while answers decode: their roles, and which of them can be dropped.

    A row's last block is known by `config.latent_blocks`, the most blocks that a response has: no row opens another
    one after that many, so what its answer does not see is of no use any more. Without that number nothing is
    dropped, and the mask alone hides it.

    Args:
        config: The model's configuration.
        roles (`torch.LongTensor` of shape `(batch, columns)`): Roles of the cache's columns and of those that the next
            pass computes.
        closed (`torch.LongTensor` of shape `(batch,)`): Blocks that each row has closed.
        ends (`Sequence[int]`, *optional*): Tokens that end a turn; a row that has said one needs no columns.
    """

    def __init__(self, config, roles: torch.LongTensor, closed: torch.LongTensor, ends: Sequence[int] = ()):
        check_answer_settings(config)
        self.config, self.roles, self.closed = config, roles, closed
        self.rules = LatentRules.from_config(config)
        self._ends = torch.tensor(list(ends), dtype=roles.dtype, device=roles.device)
        # Rows that have come to their last block, and whether some of them have columns to drop.
        self._last = self.finished
        self._pending = bool(self._last.any())

    @classmethod
    def of_prompts(
        cls, config, ids: torch.LongTensor, mask: torch.Tensor | None = None, ends: Sequence[int] = ()
    ) -> "AnswerColumns":
        """Columns of prompts.

        Args:
            config: The model's configuration.
            ids (`torch.LongTensor` of shape `(batch, length)`): The prompts.
            mask (`torch.Tensor` of shape `(batch, length)`, *optional*): 0 at padding.
            ends (`Sequence[int]`, *optional*): See [`AnswerColumns`].
        """
        roles = token_roles(ids, config, mask)
        closed = ((roles == ANSWER) & (ids == config.latent_end_token_id)).sum(1)
        return cls(config, roles, closed, ends)

    @classmethod
    def join(cls, parts: Sequence[tuple["AnswerColumns", Sequence[int], Sequence[int]]]) -> "AnswerColumns":
        """Columns of rows from several, each row flush with the end.

        Args:
            parts: Columns, for each the numbers of the rows to take and how many of their last columns are theirs.
        """
        longest = max(length for _, _, lengths in parts for length in lengths)
        taken = [
            (columns.roles[row, columns.roles.shape[1] - length :], columns.closed[row])
            for columns, rows, lengths in parts
            for row, length in zip(rows, lengths, strict=True)
        ]
        roles = torch.stack([functional.pad(one, (longest - len(one), 0), value=PADDING) for one, _ in taken])
        first = parts[0][0]
        return cls(first.config, roles, torch.stack([closed for _, closed in taken]), first._ends.tolist())

    @property
    def lengths(self) -> list[int]:
        """For each row how many columns are its own."""
        return (self.roles != PADDING).sum(1).tolist()

    @property
    def finished(self) -> torch.BoolTensor:
        """Rows `(batch,)` that have closed their last block."""
        blocks = self.config.latent_blocks
        return torch.zeros_like(self.closed, dtype=torch.bool) if blocks is None else self.closed >= blocks

    def advance(self, tokens: torch.LongTensor) -> None:
        """Take the next token of each row, `(batch, 1)`, before it is computed."""
        last = tokens[:, 0]
        self.closed = self.closed + (last == self.rules.end)
        roles = response_roles(tokens, self.config, self.closed[:, None] > 0)
        self.roles = torch.cat([self.roles, roles], dim=1)
        # Waits for the device until every row has come to its last block.
        if self.config.latent_blocks is not None and not bool(self._last.all()):
            before = self._last
            self._last = before | self.finished | torch.isin(last, self._ends)
            self._pending |= bool((self._last & ~before).any())

    def constrain(self, scores: torch.FloatTensor) -> torch.FloatTensor:
        """Scores `(batch, vocabulary)` that open no block after the last, nor a turn, which would end the response."""
        scores = scores.clone()  # the given ones may be recorded as logits
        scores[:, self.config.turn_token_id] = -torch.inf
        scores[:, self.rules.start].masked_fill_(self.finished, -torch.inf)
        return scores

    def drop_unseen(self, cached: int) -> torch.LongTensor | None:
        """Drop the cached columns that finished rows do not see; the rest of each row is flush with the end.

        Args:
            cached (`int`): How many of the columns are in the cache.

        Returns:
            `torch.LongTensor` of shape `(batch, kept)`: For each column that the cache keeps where it was; None if all
            stay.
        """
        if not self._pending:
            return None
        self._pending = False
        roles = self.roles[:, :cached]
        seen = visible_roles(self.config.answer_sees_question, roles.device)[ANSWER][roles]
        kept = torch.where(self._last[:, None], seen, roles != PADDING)
        width = int(kept.sum(1).max())
        if width >= cached:
            return None
        places = kept.long().argsort(dim=1, stable=True)[:, cached - width :]
        roles = roles.gather(1, places).masked_fill(~kept.gather(1, places), PADDING)
        self.roles = torch.cat([roles, self.roles[:, cached:]], dim=1)
        return places


def select_columns(cache, places: torch.LongTensor) -> None:
    """Keep some columns of a cache of full layers, each row its own.

    Args:
        cache (`DynamicCache`): Is changed in place.
        places (`torch.LongTensor` of shape `(batch, kept)`): Which columns, in their new order.
    """
    for layer in cache.layers:
        for name in ("keys", "values"):
            states = getattr(layer, name)
            index = places.to(states.device)[:, None, :, None].expand(-1, states.shape[1], -1, states.shape[3])
            setattr(layer, name, states.gather(2, index))
