"""The stage `questions`: what is asked about each clip, with wrong options drawn over the whole dataset."""

from collections import Counter
from collections.abc import Iterator, Sequence

from ..questions.clip_questions import Candidate, ask_about_clip, design_options
from ..questions.object_questions import check_name
from ..questions.option_design import limit_shares
from .build import ClipOutcome, VideoOutcome
from .record_json import build_record, window_from_json
from .settings import WINDOW_STAGES, BuildSettings, digest, stage_key
from .stage_files import StageFiles, StageResult

Counts = dict[str, Counter[str]]


def ask_about_clips(files: StageFiles, settings: BuildSettings, outcomes: Sequence[VideoOutcome]) -> None:
    """Choose what to ask, so that no answer is more than a quarter of its kind, and write each clip's questions.

    Candidates that are left out for it are taken out of the outcomes.

    Args:
        files ([`StageFiles`]): Where records are read and questions are written.
        settings ([`BuildSettings`]): What a user set.
        outcomes (`Sequence[VideoOutcome]`): Of all earlier stages.
    """
    kept = _limit(_count(outcomes))
    for kind, answers in kept.items():
        _leave_out(kind, answers, outcomes, settings.seed)
    counts = _count(outcomes)
    designs = design_options(counts)
    for outcome, number, clip in _asked(outcomes):
        folder = f"{outcome.video.name}/{number:03d}"
        results = {stage: files.read(folder, stage) for stage in WINDOW_STAGES}
        stages = {stage: result for stage, result in results.items() if result is not None}
        name = settings.names.get(clip.source)
        asked = [list(candidate) for candidate in clip.candidates]
        subject = [clip.clip, name, asked, {kind: counts[kind] for kind, _, _ in clip.candidates}]
        key = stage_key("questions", settings, subject, {stage: result.digest for stage, result in stages.items()})
        stored = files.read(folder, "questions")
        if stored is not None and stored.key == key:
            continue
        shots = files.read(outcome.video.name, "shots")
        assert shots is not None and shots.value is not None
        window = window_from_json(shots.value["windows"][number])
        record = build_record(clip.clip, clip.source, shots.value["licence"], window, stages)
        name = None if name is None else check_name(name)
        questions = ask_about_clip(record, clip.candidates, designs, settings.frames, settings.seed, name)
        files.write(folder, "questions", StageResult(key, {"questions": questions}))


def _asked(outcomes: Sequence[VideoOutcome]) -> Iterator[tuple[VideoOutcome, int, ClipOutcome]]:
    for outcome in outcomes:
        for number, clip in enumerate(outcome.clips):
            if clip.candidates:
                yield outcome, number, clip


def _count(outcomes: Sequence[VideoOutcome]) -> Counts:
    counts: Counts = {}
    for _, _, clip in _asked(outcomes):
        for candidate in clip.candidates:
            counts.setdefault(candidate.kind, Counter())[candidate.answer] += 1
    return counts


def _limit(counts: Counts) -> Counts:
    """Kinds that have more of an answer than may stay, with how many may."""
    limits = {kind: Counter(limit_shares(answers)) for kind, answers in counts.items()}
    return {kind: answers for kind, answers in limits.items() if answers != counts[kind]}


def _leave_out(kind: str, kept: Counter[str], outcomes: Sequence[VideoOutcome], seed: int) -> None:
    """Drop candidates of one kind at random until there are as many of each answer as are kept."""
    found: dict[str, list[tuple[str, ClipOutcome, Candidate]]] = {}
    for _, _, clip in _asked(outcomes):
        for candidate in clip.candidates:
            if candidate.kind == kind:
                order = digest([seed, clip.clip, candidate.fact])
                found.setdefault(candidate.answer, []).append((order, clip, candidate))
    for answer, places in found.items():
        for _, clip, candidate in sorted(places, key=lambda place: place[0])[kept[answer] :]:
            clip.candidates.remove(candidate)
