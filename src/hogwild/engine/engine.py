"""The engine: one model, one KV pool, and forward passes over blocks.

engine = Engine.load("smollm2-135m-instruct")
prompt, a, b = engine.block(), engine.block(), engine.block()
engine.prefill([prompt], tokens)
logits = engine.forward([Row([prompt, b, a], [5]), Row([prompt, a, b], [7])])  # [2, vocab]
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from hogwild.attention import Watcher, choose_attention
from hogwild.cache import Block, Pool
from hogwild.cache.pool import slot_bytes
from hogwild.engine import passes
from hogwild.engine.passes import ConcurrentPass, Row
from hogwild.engine.prefixes import Prefixes
from hogwild.engine.selftest import ExactnessReport, self_test
from hogwild.errors import ModelUnsupported, OptionError
from hogwild.geometry import Layer
from hogwild.models.adapter import Adapter, merge, read_adapter
from hogwild.models.compiled import MOST_TOKENS, WARM_UP, compile_layers, compile_limit
from hogwild.models.hook import NAME, handing
from hogwild.models.linear import check_quantize, prepare_linears
from hogwild.models.load import Loaded, adopt, leave_files, load_model, parse_dtype, shorten
from hogwild.models.norms import fuse_norms
from hogwild.models.packaged import Progress
from hogwild.models.parallel import ALONE, Ranks, join
from hogwild.models.probe import keeps_logits, measure_layers
from hogwild.models.siblings import join_siblings
from hogwild.models.support import exact_positions

if TYPE_CHECKING:
    from hogwild.engine.graph import FixedPasses

# oneDNN keeps the compiled code of each shape that it has multiplied, and blocks grow through hundreds of shapes: with
# its default of 1,024, memory grew by over 200 MB in 200 passes. It reads this when it is first used.
os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "128")

PREFILL_CHUNK = 512
"""Tokens that one pass of a long prompt takes; bounds the memory of activations and scores."""


Observer = Callable[[Sequence[Row]], None]
"""Is told of each pass, right after its rows were written."""


class Engine:
    """A model whose workers share one KV cache. Use `Engine.load`.

    Attributes: ``model`` (transformers), ``tokenizer`` (or None), ``generation_config``, ``name``, ``pool``,
    ``prefixes`` (the prompts that are kept), ``max_positions`` (the longest view), ``vocab_size``, ``quantize`` (how
    the weights are stored), ``report`` (what the self-test found, None if skipped), ``ranks`` (the processes that share
    the model), ``observer`` (who is told of each pass, None by default), ``adapter`` (which was merged, or None).
    """

    def __init__(
        self,
        loaded: Loaded,
        kv_memory: int | None = None,
        attention: str = "auto",
        kv_dtype: str | torch.dtype | None = None,
    ) -> None:
        self.name = loaded.name
        self.model: PreTrainedModel = loaded.model
        self.tokenizer: PreTrainedTokenizerBase | None = loaded.tokenizer
        self.generation_config = loaded.generation_config
        self.config = loaded.model.config
        self.vocab_size = int(self.config.get_text_config().vocab_size)
        self.max_positions = exact_positions(self.config)
        self.report: ExactnessReport | None = None
        self.quantize = "none"
        self.ranks: Ranks = loaded.ranks
        self.model.set_attn_implementation(NAME)
        layers = _measure(self.model, self.max_positions)
        self.attention = choose_attention(attention, self.device, self.dtype, layers)
        self._keeps_logits = keeps_logits(self.model)
        stored = _kv_dtype(kv_dtype, self.dtype)
        if kv_memory is None:
            kv_memory = _default_memory(slot_bytes(layers, stored) * self.max_positions, self.ranks, self.device)
        self.pool = Pool(
            layers,
            kv_memory,
            dtype=self.dtype,
            stored=stored,
            device=self.device,
            max_positions=self.max_positions,
        )
        self.prefixes = Prefixes(self.pool)
        self.observer: Observer | None = None
        self.adapter: Adapter | None = None
        self._fixed: FixedPasses | None = None
        self._compiled = False

    @classmethod
    def load(
        cls,
        model: str | Path | PreTrainedModel,
        *,
        device: str | None = None,
        dtype: str | torch.dtype | None = None,
        quantize: str = "none",
        kv_memory: int | None = None,
        kv_dtype: str | torch.dtype | None = None,
        tokenizer: PreTrainedTokenizerBase | None = None,
        adapter: str | Path | None = None,
        trust_remote_code: bool = False,
        tensor_parallel: bool = False,
        attention: str = "auto",
        graphs: bool = False,
        compile: bool = False,  # noqa: A002  torch's name for it
        check: bool = True,
        progress: Progress | None = None,
    ) -> Engine:
        """Load a model, measure its attention, make the pool and run the self-test.

        ``model``: a Hugging Face folder, a hub id, a ``.gguf`` file, the name of a packaged model, or a loaded
        transformers model (with ``tokenizer``). A loaded one is taken over: it moves to ``device`` and ``dtype`` where
        they are given, and its own forward works again after ``model.set_attn_implementation("sdpa")``.
        ``device``: by default that of a loaded model, and the CPU for all others.
        ``quantize``: "int8" or "int4" weights, on the CPU (docs/quantisation.md); by default they are as they are.
        ``kv_memory`` is in bytes; by default a quarter of the free memory. ``kv_dtype``: "int8" keeps keys and values
        in half the memory, with some error (docs/quantisation.md); by default they have the model's dtype.
        ``adapter``: a folder with LoRA as PEFT writes it; it becomes part of the weights (docs/training.md).
        ``attention``: "auto" (the fastest that works here), "fused" (the compiled kernel, on the CPU), "triton" or
        "varlen" (on CUDA), "plain" or "reference". ``graphs``: record short passes as CUDA graphs, with "triton" only.
        ``compile``: the layers go through torch.compile, which takes a minute or more (docs/compile.md).
        ``check=False`` skips the self-test, which compares without the 8 bits of ``kv_dtype``.
        ``tensor_parallel``: share the model among the processes that torchrun started (docs/parallel.md);
        ``kv_memory`` is then that of one process.
        Raises `ModelNotFound`, `ModelCorrupt`, `ModelUnsupported`, `OptionError`.
        """
        if not isinstance(model, (str, Path, PreTrainedModel)):
            raise OptionError(f"model is a {type(model).__name__}: give a path, a name or a transformers model")
        wanted = parse_dtype(dtype)
        if device is None:
            device = str(model.device) if isinstance(model, PreTrainedModel) else "cpu"
        check_quantize(quantize, device, shared=tensor_parallel)
        ranks = join() if tensor_parallel else ALONE
        if compile and ranks.size > 1:
            raise OptionError("compile and tensor_parallel cannot be had together: leave one of them out")
        if adapter is not None and ranks.size > 1:
            raise OptionError("adapter and tensor_parallel cannot be had together: merge it into a folder first")
        learnt = None if adapter is None else read_adapter(adapter)
        if isinstance(model, PreTrainedModel):
            if ranks.size > 1:
                raise OptionError("tensor_parallel shares a model out as it is read: give a path or a name, no model")
            loaded = adopt(model if wanted is None else model.to(wanted), tokenizer, device)
        else:
            loaded = load_model(
                model,
                device=device,
                dtype=wanted,
                trust_remote_code=trust_remote_code,
                progress=progress,
                ranks=ranks,
            )
        if learnt is not None:
            merge(loaded.model, learnt)
        if loaded.ranks.size == 1 and prepare_linears(loaded.model, quantize):
            leave_files(loaded.model)
            join_siblings(loaded.model)
            fuse_norms(loaded.model)
        engine = cls(loaded, kv_memory, attention, kv_dtype)
        engine.quantize, engine.adapter = quantize, learnt
        if compile:
            engine._compile()
        if graphs:
            engine.use_fixed_passes()
        if check:
            with engine._exact_pool():
                engine.report = self_test(engine)
        return engine

    @contextmanager
    def _exact_pool(self) -> Iterator[None]:
        """A small pool in place of one that rounds keys and values: the self-test asks what is exact without."""
        kept = self.pool
        if kept.stored != kept.dtype:
            memory = 16 * kept.page_size * slot_bytes(kept.layers, kept.dtype)
            self.pool = Pool(
                kept.layers, memory, dtype=kept.dtype, device=kept.device, max_positions=kept.max_positions
            )
        try:
            yield
        finally:
            self.pool = kept

    @contextmanager
    def watch(self) -> Iterator[Watcher]:
        """Inside, ``watcher.last`` tells where the last token of each row of the last pass looked (`Gaze`).

        A diagnostic: the logits are what they are without, and a pass takes about as long again. Passes are not
        recorded as CUDA graphs meanwhile. Of a model that several processes share, it is this one's heads.
        """
        function, fixed = self.attention, self._fixed
        watcher = Watcher(function)
        self.attention, self._fixed = watcher, None
        try:
            yield watcher
        finally:
            self.attention, self._fixed = function, fixed

    def use_fixed_passes(self, *, capture: bool = True) -> None:
        """Send short passes through buffers that stay in place, and record them as CUDA graphs if ``capture``.

        Raises `OptionError` where attention is not "triton", and for a ``capture`` on another device than CUDA.
        """
        if capture and self.device.type != "cuda":
            raise OptionError(f"graphs are for CUDA, and the model is on {self.device}: leave graphs=True out")
        if type(self.attention).__name__ != "TritonAttention":
            raise OptionError("graphs need attention='triton', which is not what this engine uses")
        from hogwild.engine.graph import FixedPasses

        self._fixed = FixedPasses(self._logits, self.pool, capture=capture)

    def _compile(self) -> None:
        """Compile the layers, by a pass of each kind. Raises `ModelUnsupported` where that cannot be."""
        compile_layers(self.model)
        self._compiled = True
        try:
            with compile_limit(self.model):
                for count in WARM_UP:
                    self.forward([Row([self.block()], [0] * count)])
        except Exception as error:  # compilers fail in ways of their own
            line = shorten(f"{type(error).__name__}: {error}")
            raise ModelUnsupported(f"{self.name}: torch.compile does not take it, load it without ({line})") from error

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the model and of the cache."""
        dtype: torch.dtype = self.model.dtype
        return dtype

    @property
    def rounds(self) -> bool:
        """Whether the model rounds in its layers: half precision, or the 8-bit inputs of quantised weights."""
        return self.dtype.itemsize < 4 or self.quantize != "none"

    @property
    def device(self) -> torch.device:
        """Where the model and the cache are."""
        device: torch.device = self.model.device
        return device

    def block(self) -> Block:
        """A new, empty block."""
        return Block(self.pool)

    def forward(self, rows: Sequence[Row], *, all_positions: bool = False) -> Tensor:
        """Feed each row's tokens into the last block of its view, all in one pass.

        What the rows write is visible to all rows of the pass: another's block whole, one's own up to each token.
        Returns float32 logits [rows, vocab] after each row's last token, or more of them, packed in row order: with
        ``all_positions`` after every token, and for a row with drafts after the token before them and each of them.
        Raises `BlockError`, `WindowError` or `CacheFull`; whatever it raises, nothing has changed.
        """
        passes.check_rows(rows, self.pool, self.vocab_size)
        found: dict[int, list[Tensor]] = {id(row.own): [] for row in rows}
        with passes.all_or_nothing(rows):
            for part in passes.cut_rows(rows, PREFILL_CHUNK):
                logits = self._pass(part, all_positions)
                for row, own_logits in zip(part, logits.split(passes.asked(part, all_positions)), strict=True):
                    found[id(row.own)].append(own_logits)
        wanted = slice(None) if all_positions else slice(-1, None)
        return torch.cat([part for row in rows for part in found[id(row.own)][wanted]])

    def prefill(
        self, view: Sequence[Block], tokens: Sequence[int], progress: Callable[[int, int], None] | None = None
    ) -> Tensor:
        """Feed a long run of tokens into the last block of ``view``, in chunks; returns the last logits [vocab].

        ``progress(done, total)`` is called after each chunk. Raises as `forward` does, and then changes nothing.
        """
        rows = [Row(view, tokens)]
        passes.check_rows(rows, self.pool, self.vocab_size)
        done, logits = 0, torch.empty(0)
        with passes.all_or_nothing(rows):
            for part in passes.cut_rows(rows, PREFILL_CHUNK):
                logits = self._pass(part, False)[0]
                done += len(part[0].tokens)
                if progress is not None:
                    progress(done, len(tokens))
        return logits

    def feed(self, rows: Sequence[Row]) -> None:
        """As `forward`, where nobody asks for the logits."""
        passes.check_rows(rows, self.pool, self.vocab_size)
        with passes.all_or_nothing(rows):
            for part in passes.cut_rows(rows, PREFILL_CHUNK):
                self._pass(part, False)

    def prompt(
        self, tokens: Sequence[int], progress: Callable[[int, int], None] | None = None, *, share: bool = True
    ) -> Block:
        """A new block that holds ``tokens``, read with nothing before them.

        What an earlier prompt began with in the same way is not read again but shared, and copied only where one of
        its readers writes; so a prompt of many teams costs its price once. Where only a part is shared, the rest is
        read in chunks that begin elsewhere, and rounding may differ in the last bit. ``share=False`` neither takes nor
        leaves anything. ``progress(done, total)`` is called after each chunk, first for what is shared. Raises as
        `forward` does, and then nothing is left behind.
        """
        block = self.prefixes.fork(tokens) if share else self.block()
        try:
            shared = len(block)
            if progress is not None and shared:
                progress(shared, len(tokens))
            if shared < len(tokens):
                rest = None if progress is None else lambda done, _: progress(shared + done, len(tokens))
                self.prefill([block], tokens[shared:], rest)
            if share:
                self.prefixes.keep(block)
        except BaseException:
            block.free()
            raise
        return block

    @torch.inference_mode()
    def _pass(self, rows: Sequence[Row], all_positions: bool) -> Tensor:
        slots = passes.reserve(rows, self.pool)
        plan = passes.plan_pass(rows, slots)
        if self._fixed is not None and not all_positions and self._fixed.fits(plan):
            logits = self._fixed.run(rows, plan)
        else:
            ids = torch.tensor([[token for row in rows for token in row.tokens]], device=self.device)
            ends = None if all_positions else torch.tensor(passes.asked_places(rows), device=self.device)
            logits = self._logits(ids, plan.positions[None], ends, ConcurrentPass(plan, self.pool, self.attention))
        for row in rows:
            row.own.commit(row.tokens)
        if self.observer is not None:
            self.observer(rows)
        return logits

    def _logits(self, ids: Tensor, positions: Tensor, ends: Tensor | None, current: ConcurrentPass) -> Tensor:
        """One forward of the model: float32 logits after the tokens ``ends``, or after all of them."""
        keep = {} if ends is None or not self._keeps_logits else {"logits_to_keep": ends}
        with handing(current, self._compiled and ids.shape[1] <= MOST_TOKENS) as given:
            output = self.model(input_ids=ids, position_ids=positions, use_cache=False, **keep, **given)
        logits: Tensor = output.logits[0].float()
        return logits if ends is None or keep else logits[ends]


def _measure(model: PreTrainedModel, max_positions: int) -> tuple[Layer, ...]:
    try:
        return measure_layers(model, max_positions)
    except ModelUnsupported as error:
        raise ModelUnsupported(f"{model.config.model_type}: {error}") from error
    except Exception as error:  # models that were not made for this fail in ways of their own
        line = (str(error).splitlines() or [type(error).__name__])[0]
        raise ModelUnsupported(
            f"{model.config.model_type}: the model cannot take another attention function ({line[:160]})"
        ) from error


def _default_memory(window_bytes: int, ranks: Ranks, device: torch.device) -> int:
    """A quarter of the free memory, but no more than 64 full windows; the same on all ranks, which share it."""
    if device.type == "cuda":
        free = torch.cuda.mem_get_info(device)[0] // 4
    else:
        free = psutil.virtual_memory().available // 4 // ranks.size
    return ranks.least(max(min(free, 64 * window_bytes), 1))


def _kv_dtype(asked: str | torch.dtype | None, model_dtype: torch.dtype) -> torch.dtype:
    """The dtype that keys and values are stored in. Raises `OptionError`."""
    names = {"int8": torch.int8, str(model_dtype).removeprefix("torch."): model_dtype}
    if asked is None or asked == model_dtype:
        return model_dtype
    if asked == torch.int8 or asked in names:
        return torch.int8 if asked == torch.int8 else names[str(asked)]
    raise OptionError(f"kv_dtype is {asked!r}: give one of {', '.join(names)}, or None for the model's own")
