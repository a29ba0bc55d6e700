"""llama.cpp through llama-cpp-python: several sequences behind one context, by its low-level batch."""

from __future__ import annotations

import ctypes
import importlib
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hogwild.errors import BlockError, ModelCorrupt, ModelNotFound, WindowError

BATCH = 512
"""Tokens that go in at once when a prompt is read."""

ROOM = 64
"""Tokens that each sequence can grow by."""


class LlamaPeer:
    """A GGUF file in llama.cpp on as many threads as torch has. All sequences share the context in its cache."""

    note = "flash attention, one unified cache: the sequences share the context; its quantisation is that of the file"

    def __init__(self, path: Path, seed: int) -> None:
        if not path.is_file():
            raise ModelNotFound(f"{path}: there is no such GGUF file")
        self._api: Any = importlib.import_module("llama_cpp")
        self._log = _silence(self._api)
        self._model = self._api.llama_model_load_from_file(str(path).encode(), self._api.llama_model_default_params())
        if not self._model:
            raise ModelCorrupt(f"{path}: llama.cpp cannot read this GGUF file")
        vocabulary = self._api.llama_model_get_vocab(self._model)
        self.vocab_size = int(self._api.llama_vocab_n_tokens(vocabulary))
        self.name = f"llama.cpp {path.name}"
        self._random = np.random.default_rng(seed)
        self._context: Any = None
        self._length, self._workers = 0, 0

    def prepare(self, context: int, workers: int) -> None:
        """Read the context once; all sequences continue it."""
        self._open(context + workers * ROOM, workers)
        tokens = self._random.integers(3, self.vocab_size, context).tolist()
        for first in range(0, context, BATCH):
            self._decode([(token, first + i, 0) for i, token in enumerate(tokens[first : first + BATCH])], [])
        for sequence in range(1, workers):
            self._api.llama_memory_seq_cp(self._memory, 0, sequence, -1, -1)
        self._length, self._workers = context, workers

    def seconds(self, passes: int) -> list[float]:
        """Passes in which each sequence gets its likeliest token."""
        if self._context is None:
            raise BlockError(f"{self.name} has no context: prepare it first")
        pending, found = [5 + sequence for sequence in range(self._workers)], []
        for step in range(passes):
            start = time.perf_counter()
            where = self._length + step
            logits = self._decode([(token, where, i) for i, token in enumerate(pending)], range(self._workers))
            pending = logits.argmax(axis=1).tolist()
            found.append(time.perf_counter() - start)
        for sequence in range(self._workers):
            self._api.llama_memory_seq_rm(self._memory, sequence, self._length, -1)
        return found

    def release(self) -> None:
        """Free the context's cache; the model stays."""
        if self._context is not None:
            self._api.llama_free(self._context)
        self._context = None

    def logits(self, tokens: Sequence[int]) -> np.ndarray:
        """The logits after each of ``tokens``, read as one sequence: float32 [tokens, vocabulary]."""
        self._open(len(tokens) + ROOM, 1)
        found = []
        for first in range(0, len(tokens), BATCH):
            part = tokens[first : first + BATCH]
            found.append(self._decode([(token, first + i, 0) for i, token in enumerate(part)], range(len(part))))
        self.release()
        return np.concatenate(found)

    def _open(self, tokens: int, sequences: int) -> None:
        self.release()
        settings = self._api.llama_context_default_params()
        settings.n_ctx = -(-tokens // 256) * 256
        settings.n_batch = settings.n_ubatch = BATCH
        settings.n_seq_max = sequences
        settings.n_threads = settings.n_threads_batch = torch.get_num_threads()
        settings.kv_unified = True
        settings.flash_attn_type = 1
        self._context = self._api.llama_init_from_model(self._model, settings)
        if not self._context:
            raise WindowError(f"{self.name}: llama.cpp makes no context of {settings.n_ctx:,} tokens")
        self._memory = self._api.llama_get_memory(self._context)

    def _decode(self, places: Sequence[tuple[int, int, int]], wanted: Sequence[int]) -> np.ndarray:
        """Feed (token, position, sequence); the logits of the ``wanted`` ones [wanted, vocabulary]."""
        batch = self._api.llama_batch_init(len(places), 0, 1)
        try:
            batch.n_tokens = len(places)
            for index, (token, position, sequence) in enumerate(places):
                batch.token[index], batch.pos[index] = token, position
                batch.n_seq_id[index], batch.seq_id[index][0] = 1, sequence
                batch.logits[index] = index in wanted
            code = self._api.llama_decode(self._context, batch)
            if code != 0:
                raise WindowError(f"{self.name}: llama.cpp could not take {len(places)} tokens (code {code})")
            rows = [self._api.llama_get_logits_ith(self._context, index) for index in wanted]
            shape = (self.vocab_size,)
            return np.stack([np.ctypeslib.as_array(row, shape) for row in rows]) if rows else np.empty((0, *shape))
        finally:
            self._api.llama_batch_free(batch)


def _silence(api: Any) -> Any:
    """Keep back what llama.cpp would write to standard error. The returned callback must live as long as it is set."""
    callback = api.llama_log_callback(lambda *_: None)
    api.llama_log_set(callback, ctypes.c_void_p(0))
    return callback
