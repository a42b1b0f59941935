"""Are questions about space right? Their answers on rendered scenes against the scenes' own places and poses.

    python benchmarks/spatial_questions.py --clips 150
    python benchmarks/spatial_questions.py --clips 60 --exact

Without `--exact` every record first gets the noise of estimated depth, masks and poses (`spatial_truth.add_noise`). It
prints, for each kind, how many questions there are, how many are right, and a 95 % interval.
"""

import argparse
import time
from collections import Counter

import numpy as np
from spatial_truth import add_noise, is_true

from fourdthinker.dataset_builders.questions.spatial_facts import spatial_facts
from fourdthinker.dataset_builders.sources.world_space import open_world, render_clip
from fourdthinker.eval_tasks.statistics import wilson_interval


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=int, default=150)
    parser.add_argument("--first", type=int, default=1000, help="seed of the first scene")
    parser.add_argument("--exact", action="store_true", help="exact records, without noise")
    args = parser.parse_args()
    asked: Counter[str] = Counter()
    right: Counter[str] = Counter()
    began = time.process_time()
    with open_world() as world:
        for seed in range(args.first, args.first + args.clips):
            clip, record = render_clip(world, seed)
            if not args.exact:
                record = add_noise(record, np.random.default_rng(seed))
            for fact in spatial_facts(record):
                asked[fact["task"]] += 1
                right[fact["task"]] += is_true(clip, fact)
    print(f"{args.clips} clips, {(time.process_time() - began) / args.clips:.2f} s of processor each\n")
    print("| kind | questions | right | 95 % interval |\n|---|---:|---:|---:|")
    for task in [*sorted(asked), "all"]:
        count, good = (asked.total(), right.total()) if task == "all" else (asked[task], right[task])
        low, high = wilson_interval(good, count)
        print(f"| {task} | {count} | {100 * good / count:.1f} % | {100 * low:.1f} to {100 * high:.1f} |")


if __name__ == "__main__":
    main()
