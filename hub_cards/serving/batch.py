"""Answers that decode together: rows at any stage, each as it would be alone."""

import logging
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any, Literal

import torch

from ...eval_tasks.sampling import RowSampler, Sampling
from ...modeling.answer_columns import AnswerColumns
from ...modeling.cache_name import CACHE_NAME
from ...modeling.latent_rules import NOT_FORCED, LatentRules
from .events import Event, Finish, ImageryBlock, ModelFailure, ServingError
from .heat_maps import HeatMaps
from .prefill import Prefill
from .prompt import Prompt
from .response_text import ResponseText
from .row_cache import drop_columns, join_rows
from .settings import GenerationSettings

logger = logging.getLogger(__name__)


@dataclass
class Job:
    """One request from its coming to its end.

    Attributes:
        prompt ([`Prompt`]): What is asked.
        settings ([`GenerationSettings`]): How it is decoded.
        deliver (`Callable`): Takes the events, and the error that ends it if one does; called by the engine's thread.
        cancelled (`bool`): Nobody listens any more: it ends at the next token.
        outcome (`str`, *optional*): `"finished"`, `"failed"` or `"cancelled"`, once it has ended.
        came, started, prefilled, first_token (`float`): Moments, by `perf_counter`.
    """

    prompt: Prompt
    settings: GenerationSettings
    deliver: Callable[[Event | ServingError], object]
    cancelled: bool = False
    outcome: Literal["finished", "failed", "cancelled"] | None = None
    came: float = field(default_factory=perf_counter)
    started: float = 0.0
    prefilled: float = 0.0
    first_token: float = 0.0

    def tell(self, event: Event | ServingError) -> None:
        """Deliver an event; a listener that fails is no reason to fail the others' answers."""
        if self.cancelled or self.outcome:
            return
        if isinstance(event, (Finish, ServingError)):
            self.outcome = "finished" if isinstance(event, Finish) else "failed"
        try:
            self.deliver(event)
        except Exception:
            logger.exception("an event could not be delivered")
            self.cancelled = True

    def cancel(self) -> None:
        """End it at the next token."""
        self.cancelled = True


class Row:
    """A running answer.

    Args:
        job ([`Job`]): The request.
        prefill ([`Prefill`]): Its prompt, read.
        tokenizer, rules, ends: Of the model; `ends` are the tokens that end a turn.
        merge (`int`): Patches a side of one visual token.
    """

    def __init__(self, job: Job, prefill: Prefill, tokenizer, rules: LatentRules, ends: frozenset[int], merge: int):
        self.job, self.rules, self.ends = job, rules, ends
        self.length = job.prompt.length  # columns in the cache
        self.position = prefill.next_position
        self.tail = job.prompt.inputs["input_ids"][0, -max(1, rules.size) :].tolist()
        self.written = 0
        self.reason: Literal["stop", "length", "cancelled", "failed"] | None = None
        self._text = ResponseText(tokenizer, rules, job.settings.stop)
        self._latents: list[torch.Tensor] = []
        self._maps = HeatMaps(job.prompt, prefill.features, merge) if job.settings.imagery else None
        settings = job.settings
        self.sampler = None
        if settings.temperature > 0:
            sampling = Sampling(settings.temperature, top_p=settings.top_p)
            self.sampler = RowSampler(sampling, [f"{settings.seed:015x}"], rules)

    def take(self, token: int, fed: torch.Tensor) -> None:
        """Take the next token; `fed` of shape `(hidden,)` is fed if it is a latent's pad."""
        self.written += 1
        if self.written == 1:
            self.job.first_token = perf_counter()
        self.tail = [*self.tail, token][-max(1, self.rules.size) :]
        if token in self.ends:
            self.reason = "stop"
        else:
            if token == self.rules.pad and self._maps is not None:
                self._latents.append(fed.clone())
            for event in self._text.add(token):
                self._deliver(event)
            if self._text.stopped:
                self.reason = "stop"
            elif self.written >= self.job.settings.max_tokens:
                self.reason = "length"
        if self.reason is not None:
            self._finish(self.reason)

    def _finish(self, reason) -> None:
        for event in self._text.finish():
            self._deliver(event)
        job, now = self.job, perf_counter()
        seconds = {"queue": job.started - job.came, "prefill": job.prefilled - job.started}
        seconds |= {"decode": now - job.prefilled, "first_token": job.first_token - job.came}
        job.tell(Finish(reason, job.prompt.length, self.written, seconds))

    def _deliver(self, event: Event) -> None:
        if isinstance(event, ImageryBlock) and self._maps is not None:
            event = replace(event, maps=self._maps.of_block(self._latents))
            self._latents = []
        self.job.tell(event)


class Batch:
    """The running answers of a model.

    A step gives every row its next token. Rows of other lengths are padded on the left, have positions, latents and
    draws of their own, and so get the tokens that each would get alone, up to rounding: in float32 the same.

    Args:
        model: A model with latents, in eval mode.
        processor: Its processor.
    """

    def __init__(self, model, processor):
        self.rows: list[Row] = []
        self._model = model
        # Its own: another thread that encodes a prompt may change the settings of the processor's meanwhile.
        self._tokenizer = deepcopy(processor.tokenizer)
        self._rules = LatentRules.from_config(model.config)
        self._ends = end_tokens(model, processor.tokenizer)
        self._merge = model.config.vision_config.spatial_merge_size
        self._cache: Any = None
        # Roles of the cache's columns, where an answer does not see all of them.
        self._columns: AnswerColumns | None = None
        # Of each row: the token and the vector that its next forward gets.
        self._tokens: list[int] = []
        self._fed: torch.Tensor | None = None

    def join(self, jobs: list[tuple[Job, Prefill]]) -> None:
        """Take in requests whose prompts are read, with their first tokens."""
        arrived = []
        for job, prefill in jobs:
            row = Row(job, prefill, self._tokenizer, self._rules, self._ends, self._merge)
            fed = self._model.to_feedback(prefill.state)
            token = self._choose([row], prefill.logits, fed, prefill.columns)[0]
            arrived.append((row, prefill, fed, token))
        arrived = [one for one in arrived if one[0].reason is None]
        self._rebuild([number for number, row in enumerate(self.rows) if row.reason is None], arrived)

    def step(self) -> None:
        """One token more for every row; rows that ended or whose client went away leave."""
        self.drop_cancelled()
        if not self.rows:
            return
        tokens = torch.tensor(self._tokens, device=self._model.device)[:, None]
        seen = self._seen_columns(tokens)
        positions = torch.tensor([row.position for row in self.rows])
        device = self._model.device
        output = self._model(
            input_ids=tokens,
            position_ids=positions.to(device)[None, :, None].expand(3, -1, 1),
            latent_embeds=self._fed,
            use_cache=True,
            logits_to_keep=1,
            **{CACHE_NAME: self._cache},
            **seen,
        )
        self._fed = self._model.to_feedback(output.last_hidden_state[:, -1:])
        for row in self.rows:
            row.length += 1
            row.position += 1
        self._tokens = self._choose(self.rows, output.logits[:, -1], self._fed, self._columns)
        self._drop_ended()

    def _seen_columns(self, tokens: torch.LongTensor) -> dict[str, torch.Tensor]:
        """The model's argument for what the next tokens `(rows, 1)` see; drops what no answer sees any more."""
        if self._columns is None:
            lengths = torch.tensor([row.length for row in self.rows])
            columns = int(lengths.max()) + 1
            mask = (torch.arange(columns) >= columns - 1 - lengths[:, None]).long()
            return {"attention_mask": mask.to(tokens.device)}
        self._columns.advance(tokens)
        places = self._columns.drop_unseen(self._cache.get_seq_length())
        if places is not None:
            drop_columns(self._cache, places)
            for row, length in zip(self.rows, self._columns.lengths, strict=True):
                row.length = length - 1
        return {"roles": self._columns.roles}

    def drop_cancelled(self) -> None:
        """Let go of the rows nobody waits for."""
        for row in self.rows:
            if row.job.cancelled and row.reason is None:
                row.reason = "cancelled"
        self._drop_ended()

    def clear(self) -> None:
        """Let go of all rows."""
        self.rows, self._tokens, self._cache, self._columns, self._fed = [], [], None, None, None

    def _drop_ended(self) -> None:
        staying = [number for number, row in enumerate(self.rows) if row.reason is None]
        if len(staying) < len(self.rows):
            self._rebuild(staying, [])

    def _rebuild(self, staying: list[int], arrived: list) -> None:
        rows = [self.rows[number] for number in staying]
        sources = [(self._cache, self._columns)] if staying else []
        sources += [(prefill.cache, prefill.columns) for _, prefill, _, _ in arrived]
        taken = [(staying, [row.length for row in rows])] if staying else []
        taken += [([0], [row.length]) for row, _, _, _ in arrived]
        fed = [self._fed[staying]] if self._fed is not None and staying else []
        self._fed = torch.cat([*fed, *(one for _, _, one, _ in arrived)]) if sources else None
        blind = [(columns, *rows) for (_, columns), rows in zip(sources, taken, strict=True) if columns is not None]
        self._columns = AnswerColumns.join(blind) if blind else None
        caches = [(cache, *rows) for (cache, _), rows in zip(sources, taken, strict=True)]
        self._cache = join_rows(caches, self._model.config) if caches else None
        self._tokens = [self._tokens[number] for number in staying] + [token for *_, token in arrived]
        self.rows = rows + [row for row, *_ in arrived]

    def _choose(
        self, rows: list[Row], logits: torch.Tensor, fed: torch.Tensor, columns: AnswerColumns | None
    ) -> list[int]:
        """The next token of each row, told to it; `logits` `(rows, vocabulary)`, `fed` `(rows, 1, hidden)`."""
        logits = logits.float()
        if columns is not None:
            logits = columns.constrain(logits)
        tails = torch.tensor([row.tail for row in rows], device=logits.device)
        forced = self._rules.forced(tails)
        best, tokens = self._rules.constrain(forced, logits).max(-1)
        chosen = tokens.tolist()
        broken = best.isnan().tolist()
        for number, row in enumerate(rows):
            if broken[number]:
                row.reason = "failed"
                row.job.tell(ModelFailure("the model computed values that are no numbers"))
                continue
            if row.sampler is not None and int(forced[number]) == NOT_FORCED:
                one = slice(number, number + 1)
                chosen[number] = int(row.sampler(tails[one], logits[one]).argmax())
            row.take(chosen[number], fed[number, 0])
        return chosen


def end_tokens(model, tokenizer) -> frozenset[int]:
    """The tokens that end a turn: those of the generation configuration, and of the chat template."""
    configured = model.generation_config.eos_token_id
    ends = list(configured) if isinstance(configured, list) else [configured]
    known = tokenizer.get_vocab()
    ends += [known.get(token) for token in ("<|im_end|>", "<|endoftext|>")]
    return frozenset(token for token in ends if token is not None)
