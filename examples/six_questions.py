"""Six short questions as parts: two workers against one, over several seeds.

    python examples/six_questions.py --model MODEL --seeds 5

Prints, for each seed, the passes that one and two workers needed, whether each question was answered exactly once, and
whether the final answer lists all six. Works from about 1.5B parameters.
"""

from __future__ import annotations

import argparse
import re
from statistics import median

from hogwild import Engine, Team
from hogwild.team.events import Finished, StepFinished

QUESTIONS = {
    "What is the capital of France?": "paris",
    "What is 12 + 30?": "42",
    "Which planet is known as the red planet?": "mars",
    "What is the chemical symbol of gold?": "au",
    "How many legs does a spider have?": "8|eight",
    "What is the opposite of hot?": "cold",
}


def answered(text: str) -> list[int]:
    """The numbers of the questions that a text answers, in order, right or wrong."""
    return [int(number) for number in re.findall(r"^\s*(\d)[.)]", text, re.MULTILINE)]


def run(engine: Engine, workers: int, seed: int) -> tuple[Finished, str]:
    """Run one team; returns its last event and all that the workers wrote."""
    team = Team(engine, "Answer six short questions.", workers, assign=list(QUESTIONS), budget=200, seed=seed)
    events = list(team.run())
    written = "\n".join(event.text for event in events if isinstance(event, StepFinished))
    last = events[-1]
    assert isinstance(last, Finished)
    return last, written


def main() -> None:
    """Run the comparison and print it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--seeds", type=int, default=5)
    options = parser.parse_args()
    engine = Engine.load(options.model)
    ratios = []
    for seed in range(options.seeds):
        alone, _ = run(engine, 1, seed)
        pair, written = run(engine, 2, seed)
        once = sorted(answered(written)) == [1, 2, 3, 4, 5, 6]
        listed = set(answered(pair.text)) == {1, 2, 3, 4, 5, 6}
        right = sum(bool(re.search(rf"\b({key})\b", pair.text.lower())) for key in QUESTIONS.values())
        ratios.append(pair.passes / alone.passes)
        print(
            f"seed {seed}: passes {alone.passes} alone, {pair.passes} with two ({ratios[-1]:.2f}); "
            f"each once: {once}; all six in the final answer: {listed}; right: {right} of 6"
        )
    print(f"median of passes, two workers over one: {median(ratios):.2f}")


if __name__ == "__main__":
    main()
