"""What only a GPU shows, measured in at most 10 minutes, each part written down as soon as it is measured.

    python benchmarks/gpu.py                              # everything, on the first GPU (`make bench-gpu`)
    python benchmarks/gpu.py --only decoding --minutes 4  # one section
    python benchmarks/gpu.py --device cpu --shape tiny    # a trial of the script itself: its numbers mean nothing

Results go to `benchmarks/results/gpu_<section>.md`, headed by the card, the versions and the sources. A second run
keeps the parts that were measured with the same heading and the same settings and measures the others, so a run that
was stopped loses one part. Each section runs in its own process with a share of the time; a part that found too
little time or memory, or failed, says so in its place.

What the numbers are, with random bfloat16 weights of the 3B shape (36 layers of 2048, vocabulary 151936) and, unless
a line says otherwise, the median of `--repeats` runs after one that is not counted:

* `decoding`: new tokens a second of `generate` for 1 and 64 rows, prompts of 64 tokens and 96 new ones, with the stock
  class (latents off) and with ours, three latent blocks a row (latents on), eagerly with a dynamic cache. The limit is
  steps a second if each step did nothing but read every weight of the language model once, at the bandwidth of a
  measured copy; the cache is left out of it, being under a tenth of the weights here. The share is measured steps a
  second over the limit.
* `dift`: seconds from one row of 1k, 4k or 16k tokens to new weights: collating, forward, backward, clipping, AdamW,
  with activations recomputed. `plain` is the loop of `dift.py`; `ours` has the imagery's targets kept. Loss and
  gradient norm are those of the first batch, before any step, and should agree to bfloat16's precision. Memory is the
  most that PyTorch had allocated during a step, weights and optimizer state included.
* `grpo`: seconds of each part of a 4DRL step of 8 prompts with 8 completions of 128 tokens, as in `grpo.py`: rolling
  out 64 rows together, rewards, scoring by policy and reference, and the update. The parts of the table differ in how
  many rows a scoring pass with gradient takes: 8, or all 64.
* `tests`: the tests marked `gpu`, with what they measured: that a batch decodes as its rows do alone, that a replay
  gives the log-probs of decoding, the gap between log-probs in bfloat16 and float32, other attention kernels.
* `compiled`: the same as `decoding` with a static cache, for which transformers compiles the forward.
"""

import argparse
import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
import trl
from measuring import machine

from fourdthinker.modeling.atomic import atomic_path
from fourdthinker.modeling.errors import first_line

ROOT = Path(__file__).resolve().parents[1]
# Parts of each section, and its share of the time. What compiles for minutes comes last, and gets what others leave.
SECTIONS = {
    "decoding": (("1 row, dynamic", "64 rows, dynamic"), 0.18),
    "dift": (("1k tokens", "4k tokens", "16k tokens"), 0.22),
    "grpo": (("8 rows a pass", "64 rows a pass"), 0.28),
    "tests": (("tests",), 0.12),
    "compiled": (("1 row, static", "64 rows, static"), 0.2),
}
NOT_MEASURED = "not measured: "
OUT_OF_TIME = NOT_MEASURED + "out of time"


class Report:
    """A section's result file: a heading, and the parts measured under it.

    Args:
        path (`Path`): The file. Its parts are kept if its heading is the same.
        heading (`str`): Everything that a number depends on.
    """

    def __init__(self, path: Path, heading: str):
        self.path, self.heading = path, heading
        self.parts: dict[str, str] = {}
        if path.exists():
            before, *parts = re.split(r"^## ", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
            if before.strip() == heading.strip():
                self.parts = {name: body.strip() for name, _, body in (part.partition("\n") for part in parts)}

    def missing(self, parts: tuple[str, ...]) -> list[str]:
        """Those of `parts` that are not measured yet."""
        return [part for part in parts if self.parts.get(part, NOT_MEASURED).startswith(NOT_MEASURED)]

    def write(self, part: str, body: str) -> None:
        """Add or replace a part, in the file as well, which is whole at any time."""
        self.parts[part] = body
        text = "\n\n".join([self.heading.strip(), *(f"## {name}\n\n{body}" for name, body in self.parts.items())])
        with atomic_path(self.path) as temporary:
            temporary.write_text(f"{text}\n", encoding="utf-8")


def heading(section: str, args: argparse.Namespace) -> str:
    """The card, the versions, the sources and the settings."""
    card = torch.cuda.get_device_name() if args.device == "cuda" else "no GPU"
    memory = torch.cuda.get_device_properties(0).total_memory / 2**30 if args.device == "cuda" else 0
    dtype = "float32" if args.shape == "tiny" else "bfloat16"
    trial = "\nA trial of the script at a tiny shape: the numbers mean nothing.\n" if args.shape == "tiny" else ""
    return (
        f"# {section} on {card}\n{trial}\n{card}, {memory:.0f} GiB, CUDA {torch.version.cuda}\n"
        f"{machine(args.device, dtype)}, TRL {trl.__version__}\n"
        f"commit {commit()}, sources {digest()}; shape {args.shape}, medians of {args.repeats} runs"
    )


def commit() -> str:
    """The commit that is checked out, where git knows it."""
    try:
        command = ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def digest() -> str:
    """Of the code that is measured and of what measures it, which may differ from the commit's."""
    seen = hashlib.sha256()
    for folder in ("modeling", "trainers", "benchmarks", "tests/gpu"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            seen.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return seen.hexdigest()[:12]


def measure_section(section: str, args: argparse.Namespace, report: Report) -> None:
    """Measure and write the missing parts; runs in its own process."""
    import gpu_sections

    measure = getattr(gpu_sections, section)
    for part in report.missing(SECTIONS[section][0]):
        started = time.monotonic()
        try:
            body = measure(part, args)
        except torch.OutOfMemoryError as error:
            body = f"{NOT_MEASURED}out of memory ({first_line(error)})"
        except Exception as error:  # noqa: BLE001 -- one part that fails leaves the others their turn
            body = f"{NOT_MEASURED}{type(error).__name__}: {first_line(error)}"
        report.write(part, body)
        print(f"{section}, {part} ({time.monotonic() - started:.0f} s):\n{body}\n", flush=True)
        gpu_sections.free(args)


def run_section(section: str, args: argparse.Namespace, seconds: float) -> None:
    """Start a section's process, stop it when its time is over, and write down what it did not reach."""
    command = [sys.executable, __file__, *args.argv, "--section", section]
    # In its own process group, so that what it has started ends with it.
    with subprocess.Popen(command, start_new_session=True) as process:
        try:
            failed = f"{NOT_MEASURED}its process ended with code {process.wait(max(seconds, 1))}"
        except subprocess.TimeoutExpired:
            failed = OUT_OF_TIME
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
    report = Report(args.results / f"gpu_{section}.md", heading(section, args))
    for part in SECTIONS[section][0]:
        if part not in report.parts:
            report.write(part, failed)


def run_sections(args: argparse.Namespace) -> list[str]:
    """Every section that has parts to measure; those that are still missing afterwards, as `section, part`."""
    ends = time.monotonic() + 60 * args.minutes
    reports = {name: Report(args.results / f"gpu_{name}.md", heading(name, args)) for name in args.only}
    left = [name for name, report in reports.items() if report.missing(SECTIONS[name][0])]
    while left:
        section, shares = left[0], sum(SECTIONS[name][1] for name in left)
        # What the sections before it did not use is shared by those that follow.
        run_section(section, args, (ends - time.monotonic()) * SECTIONS[section][1] / shares)
        left = left[1:]
    reports = {name: Report(args.results / f"gpu_{name}.md", heading(name, args)) for name in args.only}
    return [f"{name}, {part}" for name, report in reports.items() for part in report.missing(SECTIONS[name][0])]


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--shape", choices=("3b", "tiny"), default="3b", help="of the models (default: 3b)")
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS), help="sections (default: all)")
    parser.add_argument("--repeats", type=int, default=5, help="runs that count (default: 5)")
    parser.add_argument("--minutes", type=float, default=9.5, help="for all sections together (default: 9.5)")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results", metavar="DIR")
    parser.add_argument("--section", choices=SECTIONS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    args.argv = sys.argv[1:]
    if args.repeats < 1:
        parser.error(f"--repeats is {args.repeats}: at least one run must count")
    if args.device == "cuda" and not torch.cuda.is_available():
        parser.error("PyTorch sees no GPU: run on a machine with one, or try with --device cpu --shape tiny")
    if args.device == "cpu" and args.shape != "tiny":
        parser.error("the 3B shape takes hours on a CPU: add --shape tiny")
    return args


def main() -> None:
    """Measure what is missing, and name what could not be measured."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    args = arguments()
    if args.section:
        measure_section(
            args.section, args, Report(args.results / f"gpu_{args.section}.md", heading(args.section, args))
        )
        return
    missing = run_sections(args)
    print(f"Results are in {args.results}/gpu_*.md.")
    if missing:
        print(f"Not measured: {'; '.join(missing)}. Run the same command again for these alone.")
        raise SystemExit(1)


if __name__ == "__main__":
    main()
