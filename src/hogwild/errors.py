"""Every error that Hogwild raises on purpose, as one tree.

    HogwildError
    ├── InputError              what a user asked for cannot be (exit code 2)
    │   ├── OptionError         a setting is out of range or unknown
    │   ├── WindowError         a task or a view is longer than the model's positions
    │   ├── ModelNotFound       no such model, file or folder
    │   ├── ModelCorrupt        the model's files cannot be read
    │   ├── ModelUnsupported    the model cannot be run exactly, with the reason
    │   └── TraceError          a trace file cannot be read
    ├── BrokenLogits            the model gave no numbers in mid-run; what was written so far is kept
    ├── BlockError              a block or a row is used in a way that cannot be (a programming error)
    ├── CacheFull               the KV pool has no free page; nothing was changed (exit code 3)
    └── QueueFull               too many teams wait already, or none are taken any more (exit code 3)

A message is one line: what is wrong, the value, and what to do about it.
"""


class HogwildError(Exception):
    """The root of the tree. Catch it to catch everything that Hogwild raises on purpose."""

    exit_code = 1


class InputError(HogwildError):
    """What a user asked for cannot be done as asked."""

    exit_code = 2


class OptionError(InputError):
    """A setting is out of range or unknown."""


class WindowError(InputError):
    """A task or a view is longer than the positions that the model knows."""


class ModelNotFound(InputError):
    """There is no such model, file or folder."""


class ModelCorrupt(InputError):
    """The files of a model cannot be read: truncated, damaged or incomplete."""


class ModelUnsupported(InputError):
    """The model cannot be run exactly through concurrent attention; the message says why."""


class TraceError(InputError):
    """A trace file cannot be read."""


class BrokenLogits(HogwildError):
    """The model gave logits from which no token can be chosen. ``text`` is what a team had written by then."""

    def __init__(self, message: str, text: str = "") -> None:
        super().__init__(message)
        self.text = text


class BlockError(HogwildError):
    """A block, a view or a row is used in a way that cannot be. Nothing was changed."""


class CacheFull(HogwildError):
    """The KV pool has no free page for what was asked. Nothing was changed; free a block or raise ``kv_memory``."""

    exit_code = 3


class QueueFull(HogwildError):
    """A scheduler takes no more teams now. Try again in a while."""

    exit_code = 3
