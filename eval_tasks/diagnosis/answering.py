"""Answer the same questions under every control, and record the latents of the model's own answers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ...modeling.progress import Progress
from ..choice import complete_by_choice
from ..conversations import digest
from ..extended_prompts import extend_prompts
from ..predict import check_sizes, decode_greedily
from .controls import OWN
from .encoding import Batch, Encoder
from .examples import MOST_EXAMPLES, Example, collect_examples
from .own_latents import OwnLatents, measure_latents
from .replacement import LatentReplacement, build_source

if TYPE_CHECKING:
    from ..benchmark import Benchmark
    from ..journal import Journal

# Names under which the journal keeps answers to a control that once meant something else.
_VERSIONS = {"reread": "reread, own words kept"}


@dataclass
class Answers:
    """What a model said.

    Attributes:
        responses (`dict[str, list[str | None]]`): By control, `"own"` first, a response for each row; `None` where
            the row's video cannot be decoded.
        latents (`list[OwnLatents | None]`): What is known of each row's own latents.
        examples (`list[Example]`): A few answers with pictures.
    """

    responses: dict[str, list[str | None]]
    latents: list[OwnLatents | None]
    examples: list[Example] = field(default_factory=list)


def answer_controls(
    model,
    processor,
    rows: Sequence[Mapping],
    controls: Sequence[str],
    batch_size: int,
    max_new_tokens: int,
    seed: int = 0,
    progress: bool = True,
    benchmark: "Benchmark | None" = None,
    journal: "Journal | None" = None,
    reading: str = "response",
) -> Answers:
    """Answer rows by greedy decoding, first as the model does by itself and then under each control.

    The frames of a batch are decoded, and run through the vision tower, twice: once for the model's own answers, whose
    latents some controls need of all rows, and once for all controls together.

    Args:
        model (`FourDThinkerForConditionalGeneration`): The model.
        processor: Its processor.
        rows (`Sequence[Mapping]`): Rows with `id`, `task`, `question`, `options`, and `frames` with `timestamps`, or a
            `video` file; for the oracle `imagery`, and `imagery_masks` if the model pools regions.
        controls (`Sequence[str]`): Names of [`CONTROLS`].
        batch_size (`int`): Rows decoded at once, as in `predict`.
        max_new_tokens (`int`): Longest response, the model's own latents included.
        seed (`int`, *optional*, defaults to 0): Of the noise, and of whose latents a row gets.
        progress (`bool`, *optional*, defaults to `True`): Show on stderr how far it is.
        benchmark ([`Benchmark`], *optional*): Whose rows they are, for their wording and how videos are sampled.
        journal ([`Journal`], *optional*): Where finished answers under controls are kept, and found again. The model's
            own are decoded each time, since their latents are needed.
        reading (`str`, *optional*, defaults to `"response"`): `"choice"` reads every answer as the likeliest option,
            see [`complete_by_choice`].
    """
    check_sizes(batch_size, max_new_tokens)
    encoder = Encoder(model, processor, rows, benchmark)
    answers = Answers({name: [None] * len(rows) for name in (OWN, *controls)}, [None] * len(rows))
    batches = encoder.plan_batches(batch_size)
    run = _Run(model, processor, encoder, answers, max_new_tokens, seed, journal, reading)
    training = model.training
    model.eval()
    total = len(rows) * (1 + len(controls))
    try:
        with Progress("answers", total, shown=progress) as answered:
            for indices in batches:
                run.answer_freely(indices)
                answered.advance(len(indices))
            run.prepare(controls)
            for indices in batches:
                run.answer_under_control(indices)
                answered.advance(len(indices) * len(controls))
    finally:
        model.train(training)
    return answers


class _Run:
    """One pass over the batches for the model's own answers, then one for those under controls."""

    def __init__(self, model, processor, encoder, answers, max_new_tokens, seed, journal, reading):
        self._model, self._processor, self._encoder, self._answers = model, processor, encoder, answers
        self._max_new_tokens, self._seed, self._journal, self._reading = max_new_tokens, seed, journal, reading

    def answer_freely(self, indices: Sequence[int]) -> None:
        """Answer a batch as the model does by itself, and measure its latents."""
        batch, answers = self._encoder.encode(indices), self._answers
        if batch is None:
            return
        output = decode_greedily(self._model, batch.inputs, self._max_new_tokens)
        responses = self._read(batch, batch.inputs, output)
        generated = output.sequences[:, batch.inputs["input_ids"].shape[1] :]
        known = measure_latents(self._model, self._processor, batch, output.latent_embeds, responses, generated)
        answers.examples += collect_examples(batch, known, responses, MOST_EXAMPLES - len(answers.examples))
        for index, response, one in zip(batch.indices, responses, known, strict=True):
            answers.responses[OWN][index], answers.latents[index] = response, one

    def prepare(self, controls: Sequence[str]) -> None:
        """Take what controls feed from the latents of all rows."""
        latents, groups = self._answers.latents, self._encoder.groups
        self._sources = {name: build_source(name, self._model, groups, latents, self._seed) for name in controls}
        self._most_blocks = max((one.blocks for one in latents if one is not None), default=0)
        # An answer may depend on the latents of any row.
        conditions = [self._encoder.digests, self._seed, self._max_new_tokens]
        self._conditions = digest([*conditions, self._reading] if self._reading != "response" else conditions)

    def answer_under_control(self, indices: Sequence[int]) -> None:
        """Answer a batch under every control; what the journal knows of it is not asked again."""
        asked = [index for index in indices if self._answers.latents[index] is not None]
        keys = {
            name: [digest([self._conditions, _VERSIONS.get(name, name), index]) for index in asked]
            for name in self._sources
        }
        known = {name: self._recall(keys[name]) for name in self._sources}
        batch = self._encoder.encode(asked) if None in known.values() else None
        for name, responses in known.items():
            if responses is None:
                responses = self._decode_control(name, batch)
                if self._journal is not None:
                    self._journal.add(dict(zip(keys[name], responses, strict=True)))
            for index, response in zip(asked, responses, strict=True):
                self._answers.responses[name][index] = response

    def _recall(self, keys: Sequence[str]) -> list[str] | None:
        """The answers of these keys if all of them are known."""
        known = [None if self._journal is None else self._journal.get(key) for key in keys]
        return None if None in known else known

    def _decode_control(self, name: str, batch: Batch) -> list[str]:
        config, source = self._model.config, self._sources[name]
        sizes = {"markers": 0, "half": config.latent_size // 2, "double": 2 * config.latent_size}
        if source is not None:
            replacement = LatentReplacement(config, batch.inputs["input_ids"].shape[1], batch.indices, source)
            settings = {"latent_transform": replacement.transform, "stopping_criteria": [replacement]}
            return self._decode(batch, batch.inputs, **settings)
        if name == "reread":
            return self._reread(batch)
        if name == "blind":
            return self._decode(batch, self._encoder.encode_blind(batch))
        if name == "forbidden":
            return self._decode(batch, batch.inputs, suppress_tokens=[config.latent_start_token_id])
        # Longer blocks must not cost the answer its tokens.
        longer = max(sizes[name] - config.latent_size, 0) * self._most_blocks
        return self._decode(batch, batch.inputs, longer, latent_size=sizes[name])

    def _reread(self, batch: Batch) -> list[str]:
        """The responses that go on from the model's own words and latents, encoded without the video.

        A model that decoded those words without the video as well would say others, or no block at all, and the
        control would measure that.
        """
        import torch
        from torch.nn.utils.rnn import pad_sequence

        inputs = self._encoder.encode_blind(batch)
        own = [self._answers.latents[index] for index in batch.indices]
        begun = extend_prompts(self._model, inputs, [one.tokens for one in own], [one.vectors for one in own])
        output = decode_greedily(self._model, begun, self._max_new_tokens)
        ends = output.sequences[:, begun["input_ids"].shape[1] :]
        responses = [
            torch.cat([end.new_tensor(one.tokens), end])[: self._max_new_tokens]
            for one, end in zip(own, ends, strict=True)
        ]
        pad = self._model.config.get_text_config().pad_token_id or 0
        prompts = inputs["input_ids"]
        output.sequences = torch.cat([prompts, pad_sequence(responses, True, pad).to(prompts)], dim=1)
        return self._read(batch, inputs, output)

    def _decode(self, batch: Batch, inputs: Mapping[str, Any], longer: int = 0, **settings) -> list[str]:
        """The responses to a batch's encoded prompts."""
        output = decode_greedily(self._model, inputs, self._max_new_tokens + longer, **settings)
        return self._read(batch, inputs, output)

    def _read(self, batch: Batch, inputs: Mapping[str, Any], output) -> list[str]:
        """The responses in what `generate` returned for encoded prompts."""
        from ...modeling.processing import decode_response

        if self._reading == "choice":
            options = [row["options"] for row in batch.rows]
            return complete_by_choice(self._model, self._processor, inputs, output, options)
        generated = output.sequences[:, inputs["input_ids"].shape[1] :]
        return [decode_response(self._processor, ids) for ids in generated]
