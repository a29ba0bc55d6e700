"""One frame of the live view, made from a board alone: who gets how many lines, and what stands in them."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hogwild.cli import text, words
from hogwild.cli.board import Board, WorkerState
from hogwild.cli.paint import Tail, box, colour, ends, entry_text, gauge

NARROW, NARROWEST = 24, 18  # columns that a worker's box wants, and the fewest it can live with
LOW, LOWEST = 5, 4  # lines, likewise, the border counted
FEW = 3  # lines of a box with one line in it


@dataclass(frozen=True)
class Sizes:
    """Lines for each part of a frame. ``rows`` has the number of workers in each row of boxes; none means no boxes."""

    header: int
    history: int
    rows: tuple[int, ...]
    row_heights: tuple[int, ...]
    answer: int


def even(total: int, parts: int) -> tuple[int, ...]:
    """``total`` split into ``parts`` whole numbers that differ by one at most, the larger first."""
    return tuple(total // parts + (i < total % parts) for i in range(parts))


def arrange(workers: int, width: int, height: int, history: int, answer: int) -> Sizes:
    """Share ``height`` lines out. ``history`` and ``answer`` are how many these have to show (0: no answer yet)."""
    header = 2 if height >= 12 else 1
    body = max(height - header - 1, 0)
    answer_lines = min(max(answer + 2, FEW), max(body // 2, FEW)) if answer else 0
    body = max(body - answer_lines, 0)
    for narrow, low in ((NARROW, LOW), (NARROWEST, LOWEST), (NARROWEST, FEW)):
        rows = ceil(workers / max(min(workers, width // narrow), 1)) if workers else 0
        if rows and rows * low + FEW <= body:
            wanted = max(history + 2, FEW)
            history_lines = min(wanted, max(body // 2, FEW), body - rows * low)
            return Sizes(header, history_lines, even(workers, rows), even(body - history_lines, rows), answer_lines)
    lines = min(workers, max(body - FEW, 1))
    return Sizes(header, body - lines if body - lines >= FEW else 0, (), (lines,), answer_lines)


def render(board: Board, width: int, height: int, hint: str = "") -> RenderableType:
    """The frame that fills a screen of ``width`` x ``height`` cells. ``hint`` stands in the footer."""
    answer = _answer(board)
    needed = sum(_height(entry.text, width - 4, len(entry.name) + 6) for entry in board.history[-height:])
    wanted = _height(answer.plain, width - 4) if answer else 0
    sizes = arrange(len(_shown(board)), width, height, needed, wanted)
    parts: list[RenderableType] = [*_header(board, width)[: sizes.header]]
    if sizes.history:
        parts.append(_history(board, width, sizes.history))
    parts += _boxes(board, width, sizes) if sizes.rows else _lines(board, width, sizes.row_heights[0])
    if answer:
        parts.append(_answer_box(board, answer, width, sizes.answer))
    parts.append(_footer(board, width, hint))
    return Group(*parts)


def _shown(board: Board) -> list[WorkerState]:
    """The workers that have a column: none once all is said and nobody's step is unfinished."""
    workers = list(board.workers.values())
    return workers if board.finished is None or any(worker.text for worker in workers) else []


def _height(content: str, width: int, label: int = 0) -> int:
    """About how many lines ``content`` takes when it is wrapped, after a label of ``label`` characters."""
    first, *others = content.split("\n")
    return ceil((len(first) + label) / max(width, 1)) + sum(max(ceil(len(line) / max(width, 1)), 1) for line in others)


def _header(board: Board, width: int) -> list[Text]:
    if board.started is None:
        return [Text("hogwild", style="bold"), Text()]
    left = Text.assemble(("hogwild", "bold"), "  ", (_setting(board), ""))
    task = Text.assemble(("task", "dim"), "     ", text.one_line(board.started.task))
    return [ends(left, _progress(board, width, width - left.cell_len - 1), width), ends(task, Text(), width)]


def _setting(board: Board) -> str:
    assert board.started is not None
    crew = text.plural(len(board.workers), "worker")
    return text.one_line(text.SEPARATOR.join([board.started.model, board.started.layout, crew]))


def _progress(board: Board, width: int, room: int) -> Text:
    """What is done of the prompt or of the budget; its bar is as long as ``room`` and a fifth of ``width`` allow."""
    assert board.started is not None
    done, whole = board.prefilled
    label, style = f"reading {done:,} of {whole:,} tokens ", "yellow"
    if done >= whole or board.tokens:
        done, whole = board.passes, board.started.budget
        label, style = f"pass {done:,} of {whole:,} ", "green" if board.finished else "cyan"
    return Text.assemble(label, gauge(done, whole, max(min(room - len(label), width // 5, 40), 8), style))


def _style(board: Board, name: str) -> str:
    worker = board.workers.get(name)
    return colour(worker.index) if worker else "white"


def _history(board: Board, width: int, height: int) -> RenderableType:
    recent = board.history[-height:]
    lines = [entry_text(entry, _style(board, entry.name)) for entry in recent]
    empty = Text("nothing finished yet", style="dim italic")
    note = f"{board.dropped:,} dropped from the view" if board.dropped else ""
    title = Text.assemble(("history", "bold"), (f" {text.plural(board.steps, 'step')}", "dim"))
    return box(Tail(lines or [empty]), width, height, title, note)


def _boxes(board: Board, width: int, sizes: Sizes) -> list[RenderableType]:
    workers = iter(_shown(board))
    rows: list[RenderableType] = []
    for count, height in zip(sizes.rows, sizes.row_heights, strict=True):
        widths = even(width, count)
        row = Table.grid(padding=0)
        for column in widths:
            row.add_column(width=column, no_wrap=True)
        row.add_row(*(_worker_box(board, next(workers), column, height) for column in widths))
        rows.append(row)
    return rows


def _state(board: Board, worker: WorkerState) -> str:
    if worker.status == "left":
        return "left"
    if board.finished or board.answering:
        return "stopped"
    return "check" if worker.status == "checking" else ""


def _current(board: Board, worker: WorkerState) -> Text:
    line = Text(words.step_body(worker.name, worker.step, worker.text))
    active = worker.status in ("writing", "checking") and not (board.finished or board.answering)
    if active:
        line.append("▌", style=colour(worker.index))
    elif worker.text:
        line.stylize("dim")
    return line


def _worker_box(board: Board, worker: WorkerState, width: int, height: int) -> RenderableType:
    style = colour(worker.index)
    title = Text(text.one_line(worker.name), style=f"bold {style}")
    if worker.step:
        title.append(f" step {worker.step}", style="not bold dim")
    if state := _state(board, worker):
        title.append(f" {state}", style="not bold yellow" if state == "check" else "not bold dim")
    note = _fitting(width - 6, *_notes(board, worker))
    return box(
        Tail([_current(board, worker)]), width, height, title, note, "grey35" if worker.status == "left" else style
    )


def _notes(board: Board, worker: WorkerState) -> list[str]:
    """How much and how fast a worker writes, from the longest way to say it to the shortest."""
    speed = f"{board.rate(worker.tokens):.1f}/s"
    long, short = text.plural(worker.tokens, "token"), f"{worker.tokens:,}"
    return [f"{long}{text.SEPARATOR}{speed}", f"{short}{text.SEPARATOR}{speed}", short] if worker.tokens else [long]


def _fitting(width: int, *wordings: str) -> str:
    """The first wording that fits, or nothing."""
    return next((words for words in wordings if len(words) <= width), "")


def _lines(board: Board, width: int, height: int) -> list[RenderableType]:
    """One line a worker, for a screen that has no room for boxes; the last says how many do not fit."""
    workers = _shown(board)
    shown = workers if len(workers) <= height else workers[: max(height - 1, 0)]
    lines: list[RenderableType] = [_worker_line(board, worker, width) for worker in shown]
    if len(shown) < len(workers):
        lines.append(Text(f"and {len(workers) - len(shown)} more", style="dim", no_wrap=True, overflow="crop"))
    return lines


def _worker_line(board: Board, worker: WorkerState, width: int) -> Text:
    label = Text(f"{text.one_line(worker.name)} [{worker.step}] ", style=f"bold {colour(worker.index)}")
    body = _current(board, worker)
    room = max(width - label.cell_len, 0)
    newest = body.plain.replace("\n", " ")
    while Text(newest).cell_len > room:
        newest = newest[1:]
    line = label + Text(newest)
    line.truncate(width)
    line.no_wrap, line.overflow = True, "crop"
    return line


def _answer(board: Board) -> Text | None:
    if board.answer or board.finished:
        found = Text(text.clean(board.answer).strip("\n") or "(no answer)")
        return found if board.finished else found.append("▌", style="green")
    return Text("▌", style="green") if board.answering else None


def _answer_box(board: Board, answer: Text, width: int, height: int) -> RenderableType:
    parsed = board.finished.answer if board.finished else None
    note = _fitting(width - 6, text.one_line(parsed)) if parsed and parsed != board.answer else ""
    return box(Tail([answer]), width, height, Text("answer", style="bold green"), note, "green")


def _footer(board: Board, width: int, hint: str) -> Text:
    right = Text(hint, style="dim")
    if board.finished is None:
        total = text.plural(board.tokens, "token")
        return ends(Text(f"{total}{text.SEPARATOR}{board.rate(board.tokens):.1f} tokens/s in total"), right, width)
    full = Text(words.summary(board.finished))
    return ends(full if full.cell_len <= width else Text(words.summary(board.finished, by_worker=False)), Text(), width)
