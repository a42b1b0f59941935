"""The stage `questions`: what is asked about each clip, with wrong options drawn over the whole dataset."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from ..clip_record import ClipRecord
from ..mask_models.checkpoints import KINDS
from ..questions.clip_questions import Candidate, ask_about_clip, design_options
from ..questions.object_questions import check_name
from ..questions.option_design import OptionDesign, limit_shares
from ..review.honour import Review
from .record_json import build_record, clip_folder, window_from_json
from .settings import TOKEN_PIXELS, WINDOW_STAGES, BuildSettings, digest, stage_key
from .stage_files import Fault, StageFiles, StageResult
from .stage_runner import ClipOutcome, VideoOutcome

Counts = dict[str, Counter[str]]
_UNSEEN = Fault(
    "questions",
    "unclear",
    "what moves is not clear in the frames that would be asked about",
    "give another clip",
)


_REJECTED = Fault(
    "questions", "unclear", "all that could be asked about it was rejected in a review", "nothing: give other clips"
)


def ask_about_clips(
    files: StageFiles, settings: BuildSettings, outcomes: Sequence[VideoOutcome], review: Review
) -> None:
    """Choose what to ask, so that no answer is more than a quarter of its kind, and write each clip's questions.

    Candidates that are left out for it are taken out of the outcomes.

    Args:
        files ([`StageFiles`]): Where records are read and questions are written.
        settings ([`BuildSettings`]): What a user set.
        outcomes (`Sequence[VideoOutcome]`): Of all earlier stages.
        review ([`Review`]): What people have judged; it counts what it changes.
    """
    if review:
        _honour(review, files, outcomes)
    kept = _limit(_count(outcomes))
    for kind, answers in kept.items():
        _leave_out(kind, answers, outcomes, settings.seed)
    counts = _count(outcomes)
    designs = design_options(counts)
    for outcome, number, clip in _askable(outcomes):
        subject = [[list(candidate), counts[candidate.kind]] for candidate in clip.candidates]
        clip.questions = _ask(files, settings, outcome, number, subject, designs, review)
        if not clip.questions:
            clip.fault = _UNSEEN


def _ask(
    files: StageFiles,
    settings: BuildSettings,
    outcome: VideoOutcome,
    number: int,
    subject: list,
    designs: Mapping[str, OptionDesign],
    review: Review,
) -> int:
    """Write the questions of one clip, unless they are up to date, and return how many there are."""
    clip, folder = outcome.clips[number], clip_folder(outcome.video.name, number)
    stages = _results(files, folder)
    name = _name_of_mover(settings, clip.source)
    record = _load_record(files, outcome, number, stages) if review else None
    judged = review.about(record) if record is not None else []
    asked = [clip.clip, name, subject, *([judged] if judged else [])]
    key = stage_key("questions", settings, asked, {made: stages[made].digest for made in stages})
    stored = files.read(folder, "questions")
    if stored is None or stored.key != key or stored.value is None:
        record = record or _load_record(files, outcome, number, stages)
        if judged:
            record, renamed = review.correct(record)
            name = None if 0 in renamed else name
        token = TOKEN_PIXELS[settings.backbone]
        questions = ask_about_clip(record, clip.candidates, designs, settings.frames, settings.seed, name, token)
        stored = StageResult(key, {"questions": questions})
        files.write(folder, "questions", stored)
    return len(stored.value["questions"])


def _honour(review: Review, files: StageFiles, outcomes: Sequence[VideoOutcome]) -> None:
    """Leave out what was rejected, before it is decided how often each answer may stand."""
    for outcome, number, clip in list(_askable(outcomes)):
        stages = _results(files, clip_folder(outcome.video.name, number))
        clip.candidates = review.keep(_load_record(files, outcome, number, stages), clip.candidates)
        if not clip.candidates:
            clip.fault = _REJECTED


def _results(files: StageFiles, folder: str) -> dict[str, StageResult]:
    return {stage: result for stage in WINDOW_STAGES if (result := files.read(folder, stage)) is not None}


def _load_record(
    files: StageFiles, outcome: VideoOutcome, number: int, stages: Mapping[str, StageResult]
) -> ClipRecord:
    shots, clip = files.load(outcome.video.name, "shots"), outcome.clips[number]
    window = window_from_json(shots["windows"][number])
    return build_record(clip.clip, clip.source, shots["licence"], window, stages)


def _name_of_mover(settings: BuildSettings, source: str) -> str | None:
    """What the user calls the moving object of a video; a model that looks for names has named its own."""
    names = settings.names_of(source)
    named = settings.mask_model is not None and KINDS[settings.mask_model.kind].finds_names
    return check_name(names[0]) if names and not named else None


def _askable(outcomes: Sequence[VideoOutcome]) -> Iterator[tuple[VideoOutcome, int, ClipOutcome]]:
    for outcome in outcomes:
        for number, clip in enumerate(outcome.clips):
            if clip.candidates:
                yield outcome, number, clip


def _count(outcomes: Sequence[VideoOutcome]) -> Counts:
    counts: Counts = {}
    for _, _, clip in _askable(outcomes):
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
    for _, _, clip in _askable(outcomes):
        for candidate in clip.candidates:
            if candidate.kind == kind:
                order = digest([seed, clip.clip, candidate.fact])
                found.setdefault(candidate.answer, []).append((order, clip, candidate))
    for answer, places in found.items():
        for _, clip, candidate in sorted(places, key=lambda place: place[0])[kept[answer] :]:
            clip.candidates.remove(candidate)
