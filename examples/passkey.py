"""Does a worker see what another is just writing? A fact is told to one alone, and another is asked for it.

    python examples/passkey.py --model MODEL --items 10

Alice alone is told a code, in her private block, and speaks it in a step that she has not finished. Then Bob joins and
is asked for the code. Only a cache that both share can answer: with the interleaved layout, where unfinished steps are
private, he cannot know it. Works from about 1.5B parameters.
"""

from __future__ import annotations

import argparse
import random

from hogwild import Engine, Sampling, Team, Worker
from hogwild.team.events import StepFinished, Token

GREEDY = Sampling(temperature=0.0)
ANSWER_TOKENS = 12


def ask(engine: Engine, layout: str, code: str) -> tuple[str, bool]:
    """What Bob answers, and whether Alice's step was still unfinished when he had."""
    secret = f"The code is {code}. Tell it to the others, and then explain in the same sentence what it is good for."
    alice = Worker("Alice", secret, "The code is")
    carol = Worker("Carol", "Tell a long story about the sea.", "Once there was a sailor who")
    team = Team(
        engine,
        "Alice knows a code, and the others need it.",
        [alice, carol],
        layout=layout,
        sampling=GREEDY,
        budget=200,
    )
    said, answer, finished, tokens = "", "", False, 0
    bob = Worker("Bob", "What does Alice write? Repeat her words.", 'Alice writes: "The code is')
    for _ in range(60):
        for event in team.step():
            if isinstance(event, StepFinished) and event.worker == "Alice":
                finished = True
            if isinstance(event, Token) and event.worker == "Alice" and "Bob" not in team.setup.names:
                said += event.text
            if isinstance(event, Token) and event.worker == "Bob":
                answer += event.text
                tokens += 1
        if code in said and "Bob" not in team.setup.names:
            team.join(bob)
        if tokens == ANSWER_TOKENS or sum(letter.isdigit() for letter in answer) >= len(code):
            break
    team.close()
    return answer.strip(), not finished


def main() -> None:
    """Ask for every code in every layout and print the score."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True)
    parser.add_argument("--items", type=int, default=10)
    options = parser.parse_args()
    engine = Engine.load(options.model)
    codes = [str(random.Random(item).randrange(1000, 9999)) for item in range(options.items)]
    for layout in ("combined", "contiguous", "interleaved"):
        answers = [ask(engine, layout, code) for code in codes]
        right = sum(code in answer for code, (answer, _) in zip(codes, answers, strict=True))
        unfinished = sum(before for _, before in answers)
        print(f"{layout}: {right} of {len(codes)} right; Alice's step was unfinished in {unfinished}", flush=True)
        print("   ", "; ".join(f"{code}: {answer!r}" for code, (answer, _) in zip(codes, answers, strict=True)))


if __name__ == "__main__":
    main()
