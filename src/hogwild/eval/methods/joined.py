"""One finisher for what several workers have written apart: it reads the task, all their texts, and answers.

The texts stand where one worker's own text stands, and the finisher asks as it asks everybody.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hogwild.engine import Engine
from hogwild.errors import HogwildError
from hogwild.eval.methods.teams import PROMPTS, options
from hogwild.eval.outcome import Question, TeamResult
from hogwild.team.events import Finished
from hogwild.team.team import Team

Answered = tuple[str | None, str]
"""The parsed answer, and the text as shown."""

NOTHING: Answered = (None, "")


def finishing_team(engine: Engine, question: Question, texts: Sequence[str], writers: int, tokens: int) -> Team:
    """A team that does no pass: it is told the texts, in order, and asked for the answer at once.

    ``tokens`` is about how long they are. Raises `OptionError` for a paragraph that takes a quarter of the window.
    """
    given = options(question, max(tokens, 1)) | {"prompt": PROMPTS / "joined"}
    # With one worker alone, free text would need no finisher: all is said.
    team = Team(engine, question.problem.question, max(writers, 2), **given)
    for text in texts:
        for piece in pieces(text, engine.max_positions // 8):
            team.say(piece)
    team.stop()
    return team


def pieces(text: str, most: int) -> Iterator[str]:
    """A text cut between paragraphs into pieces of about ``most`` characters: a team is not told more at once."""
    piece = ""
    for paragraph in text.split("\n\n"):
        if piece and len(piece) + len(paragraph) > most:
            yield piece
            piece = ""
        piece = f"{piece}\n\n{paragraph}" if piece else paragraph
    if piece.strip():
        yield piece


def answers(engine: Engine, question: Question, texts: Sequence[Sequence[str]], tokens: Sequence[int]) -> Any:
    """Have the texts of each budget answered, all together; a text that did not change is not read again.

    A part of a method's run. Returns an answer for each budget, the first error or None, and the results.
    """
    distinct = list(dict.fromkeys(tuple(one) for one in texts))
    length = dict(zip([tuple(one) for one in texts], tokens, strict=True))
    teams, errors = dict[tuple[str, ...], Team](), list[str]()
    for one in distinct:
        try:
            teams[one] = finishing_team(engine, question, one, len(one), length[one])
        except HogwildError as error:
            errors.append(str(error))
    results: Sequence[TeamResult] = (yield list(teams.values())) if teams else ()
    found = dict[tuple[str, ...], Answered]()
    for one, result in zip(teams, results, strict=True):
        last = result.events[-1] if result.events else None
        found[one] = (last.answer, last.text) if isinstance(last, Finished) else NOTHING
        errors += [result.error] if result.error is not None else []
    return [found.get(tuple(one), NOTHING) for one in texts], next(iter(errors), None), [one.events for one in results]
