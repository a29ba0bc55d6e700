"""Small questions with answers that are known, for the task ``parts``: each is drawn by a random generator.

An answer is one number below 1,000, one word, or words joined by hyphens. It holds no comma, so that answers can
stand in a list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

Piece = tuple[str, str]
"""A question, complete in itself, and its answer."""

WORDS = (
    "apple", "bread", "candle", "desk", "engine", "flower", "garden", "hammer", "island", "jacket", "kettle", "ladder",
    "mirror", "needle", "orange", "pencil", "queen", "river", "silver", "table", "umbrella", "violin", "window",
    "yellow",
)  # fmt: skip
"""Common words, each with a first letter of its own; one word of any tokenizer, more or less."""

_PLURALS = (
    ("child", "children"), ("mouse", "mice"), ("foot", "feet"), ("tooth", "teeth"), ("goose", "geese"),
    ("man", "men"), ("woman", "women"), ("wolf", "wolves"), ("leaf", "leaves"), ("city", "cities"), ("box", "boxes"),
    ("baby", "babies"), ("knife", "knives"), ("story", "stories"), ("bus", "buses"), ("ox", "oxen"),
)  # fmt: skip
_PAST = (
    ("go", "went"), ("see", "saw"), ("eat", "ate"), ("write", "wrote"), ("take", "took"), ("give", "gave"),
    ("come", "came"), ("swim", "swam"), ("fly", "flew"), ("buy", "bought"), ("think", "thought"), ("run", "ran"),
    ("drink", "drank"), ("break", "broke"), ("teach", "taught"), ("sing", "sang"),
)  # fmt: skip
_OPPOSITES = (
    ("hot", "cold"), ("tall", "short"), ("full", "empty"), ("early", "late"), ("wet", "dry"), ("rich", "poor"),
    ("strong", "weak"), ("open", "closed"), ("young", "old"), ("heavy", "light"), ("clean", "dirty"), ("loud", "quiet"),
)  # fmt: skip
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_STEPS = {1: "one day", 2: "two days", 3: "three days"}


def _sum(rng: Random) -> Piece:
    a, b, c = (rng.randint(11, 49) for _ in range(3))
    return f"Work out {a} + {b} + {c}. First add the first two numbers, then the third.", str(a + b + c)


def _difference(rng: Random) -> Piece:
    a, b = rng.randint(50, 99), rng.randint(11, 49)
    return f"Anna has {a} stamps and gives {b} of them away. How many stamps are left?", str(a - b)


def _product(rng: Random) -> Piece:
    boxes, each = rng.randint(3, 9), rng.randint(4, 12)
    return f"There are {boxes} boxes with {each} eggs in each. How many eggs are there in all?", str(boxes * each)


def _largest(rng: Random) -> Piece:
    numbers = rng.sample(range(10, 100), 5)
    return f"Which is the largest of the numbers {_listed(numbers)}?", str(max(numbers))


def _smallest(rng: Random) -> Piece:
    numbers = rng.sample(range(10, 100), 5)
    return f"Which is the smallest of the numbers {_listed(numbers)}?", str(min(numbers))


def _sorted(rng: Random) -> Piece:
    numbers = rng.sample(range(10, 100), 4)
    asked = f"Sort the numbers {_listed(numbers)} from small to large, with hyphens between them."
    return asked, "-".join(map(str, sorted(numbers)))


def _next(rng: Random) -> Piece:
    first, step = rng.randint(1, 20), rng.randint(2, 9)
    numbers = [first + step * i for i in range(5)]
    return f"Which number comes next: {_listed(numbers[:4])}?", str(numbers[4])


def _count(rng: Random) -> Piece:
    words = rng.choices(WORDS, k=rng.randint(4, 7))
    word = words[0]
    rng.shuffle(words)
    return f'How many times does "{word}" stand in this list: {_listed(words)}?', str(words.count(word))


def _alphabet(rng: Random) -> Piece:
    words = rng.sample(WORDS, 4)
    return f"Which of these words comes first in the alphabet: {_listed(words)}?", min(words)


def _reverse(rng: Random) -> Piece:
    words = rng.sample(WORDS, 4)
    asked = f"Write the words {_listed(words)} in reverse order, with hyphens between them."
    return asked, "-".join(reversed(words))


def _repeat(rng: Random) -> Piece:
    word, times = rng.choice(WORDS), rng.randint(3, 5)
    return f'Write the word "{word}" {times} times, with hyphens between the words.', "-".join([word] * times)


def _last(rng: Random) -> Piece:
    words = rng.sample(WORDS, 5)
    return f"Which is the last word of this list: {_listed(words)}?", words[-1]


def _plural(rng: Random) -> Piece:
    one, many = rng.choice(_PLURALS)
    return f'What is the plural of "{one}"?', many


def _past(rng: Random) -> Piece:
    now, then = rng.choice(_PAST)
    return f'What is the past tense of "{now}", as in "Yesterday I ..."?', then


def _opposite(rng: Random) -> Piece:
    words = list(rng.choice(_OPPOSITES))
    rng.shuffle(words)
    asked, right = words
    choice = [right, *rng.sample(WORDS, 3)]
    rng.shuffle(choice)
    return f'Which of these words is the opposite of "{asked}": {_listed(choice)}?', right


def _day(rng: Random) -> Piece:
    today, step = rng.randrange(7), rng.randint(1, 3)
    asked = f"Today is {_DAYS[today]}. Which day of the week will it be in {_STEPS[step]}?"
    return asked, _DAYS[(today + step) % 7]


KINDS: Sequence[Callable[[Random], Piece]] = (
    _sum, _difference, _product, _largest, _smallest, _sorted, _next, _count,
    _alphabet, _reverse, _repeat, _last, _plural, _past, _opposite, _day,
)  # fmt: skip
"""One for each kind of question."""


def draw(rng: Random, count: int) -> list[Piece]:
    """So many questions, all of different kinds as far as there are kinds."""
    return [kind(rng) for kind in rng.sample(KINDS, count)]


def long_sum(rng: Random) -> Piece:
    """A question that takes many times as long as the others."""
    numbers = [rng.randint(11, 49) for _ in range(6)]
    asked = " + ".join(map(str, numbers))
    return f"Work out {asked}. Add one number at a time, and write down each sum on the way.", str(sum(numbers))


def chain(rng: Random, count: int) -> list[Piece]:
    """Questions of which each but the first needs the result of the one before; all results are from 1 to 200."""
    value = rng.randint(5, 40)
    added = rng.randint(3, 20)
    pieces, value = [(f"Add {added} to {value}.", str(value + added))], value + added
    while len(pieces) < count:
        step, by = rng.choice(("add", "subtract", "double", "halve")), rng.randint(3, 20)
        before = f"the result of part {len(pieces)}"
        if step == "add" and value + by <= 200:
            asked, value = f"Add {by} to {before}.", value + by
        elif step == "subtract" and value > by:
            asked, value = f"Subtract {by} from {before}.", value - by
        elif step == "double" and value <= 60:
            asked, value = f"Multiply {before} by 2.", value * 2
        elif step == "halve" and value % 2 == 0:
            asked, value = f"Divide {before} by 2.", value // 2
        else:
            continue
        pieces.append((asked, str(value)))
    return pieces


def branches(rng: Random, count: int) -> tuple[list[Piece], str]:
    """So many sums, of which exactly one is a multiple of 10; and that sum."""
    right, pieces = rng.randrange(count), list[Piece]()
    while len(pieces) < count:
        numbers = [rng.randint(11, 49) for _ in range(3)]
        if (sum(numbers) % 10 == 0) == (len(pieces) == right):
            pieces.append((" + ".join(map(str, numbers)), str(sum(numbers))))
    return pieces, pieces[right][1]


def _listed(items: Sequence[object]) -> str:
    return ", ".join(map(str, items))
