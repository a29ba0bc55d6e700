"""The end of a run, and what it would be between two passes: the answer, found by the workers or asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hogwild.team import events
from hogwild.team.ask import Play
from hogwild.team.finisher import Finisher, Tell
from hogwild.team.progress import Progress
from hogwild.team.setup import Setup
from hogwild.team.workspace import Workspace


class Ending:
    """Concludes one team."""

    def __init__(self, setup: Setup, finisher: Finisher, progress: Progress) -> None:
        self._finisher = finisher
        self._progress = progress
        self._setup = setup
        self._snapshots_left = sorted(set(setup.settings.snapshots))

    def finish(self, space: Workspace) -> Play[None]:
        """The last events. Where workers have not brought the answer themselves, the finisher is asked for it."""
        progress = self._progress
        if progress.reason not in ("answer", "done"):
            yield events.BudgetReached(**progress.now(), reason=progress.reason or "stopped")
        decode_seconds = progress.decode_seconds
        space.held.free()
        pieces = yield from self._ask(space, lambda **of: events.AnswerToken(**progress.now(), **of))
        progress.answer, text = self._conclude(space, pieces)
        yield events.Finished(
            **progress.now(),
            answer=progress.answer,
            text=text,
            reason=progress.reason or "done",
            passes=progress.passes,
            tokens=dict(progress.written),
            prompt_tokens=progress.prompt_tokens,
            prefill_seconds=progress.prefill_seconds,
            decode_seconds=decode_seconds,
        )

    def snapshot(self, space: Workspace, make_reserves: Callable[[Workspace], None]) -> Play[None]:
        """What the answer would be at an intermediate budget; the team goes on as if it had not been asked."""
        progress = self._progress
        while self._snapshots_left and self._snapshots_left[0] <= progress.passes:
            budget = self._snapshots_left.pop(0)
            space.held.free()  # it is held for this
            with progress.aside():
                answer, text = self._conclude(space, (yield from self._ask(space)))
            with progress.limits():  # another team may have taken it meanwhile
                make_reserves(space)
            yield events.Snapshot(**progress.now(), budget=budget, answer=answer, text=text)

    @property
    def _all_is_said(self) -> bool:
        """Whether all that one worker alone has written is the answer."""
        return self._setup.solo and self._setup.settings.answer == "text"

    def _ask(self, space: Workspace, tell: Tell | None = None) -> Play[list[str]]:
        """What the finisher writes: nothing where the answer is there."""
        if self._progress.answer is not None or self._all_is_said:
            return []
        return (yield from self._finisher.ask(space, tell))

    def _conclude(self, space: Workspace, pieces: Sequence[str]) -> tuple[str | None, str]:
        """The answer, and the text to show; ``pieces`` is what the finisher wrote. Without an answer all counts."""
        if self._progress.answer is not None:
            return self._progress.answer, self._progress.answer_text
        written = space.last_words() if self._all_is_said else space.transcript()
        if pieces:
            answer, text = self._finisher.parse("".join(pieces))
            return answer, text or written
        return (written or None) if self._all_is_said else None, written
