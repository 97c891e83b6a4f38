"""C{python -m tests.faults --minutes 10 --seed 7} tests both server types, each for half of the time."""

from __future__ import annotations

import argparse
import json
import sys

from tests.faults.run import run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--type", choices=("threaded", "forked", "mixed", "cluster"), help="test only this type"
    )
    parser.add_argument("--only", default="", help="cause only this kind of fault, such as kill")
    parser.add_argument("--pause", type=float, default=0.15, help="seconds between two faults (0.15)")
    parser.add_argument("--soak", action="store_true", help="add traffic of every kind; check the memory")
    given = parser.parse_args()
    types = [given.type] if given.type else ["threaded", "forked"]
    seconds = given.minutes * 60 / len(types)
    results = [
        run(each, seconds, given.seed, pause=given.pause, only=given.only, soak=given.soak) for each in types
    ]
    for result in results:
        print(json.dumps(result, indent=1))
    wrong = [line for result in results for line in result["wrong"]]
    requests = sum(result["requests"] for result in results)
    faults = sum(sum(result["faults"].values()) for result in results)
    print(f"{requests} requests, {faults} faults, {len(wrong)} promises broken")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
