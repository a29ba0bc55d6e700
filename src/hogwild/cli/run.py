"""``hogwild run``: a team solves one task, and you watch."""

from __future__ import annotations

from pathlib import Path

from hogwild.cli import options as opt
from hogwild.cli import request as req
from hogwild.errors import OptionError


def run(
    task: opt.Task,
    workers: opt.Workers = None,
    names: opt.Names = None,
    layout: opt.Layout = "combined",
    budget: opt.Budget = 512,
    assign: opt.Assign = None,
    part: opt.Part = None,
    one_by_one: opt.OneByOne = False,
    prompt: opt.Prompt = None,
    prompt_dir: opt.PromptDir = None,
    answer: opt.Answer = "text",
    schema: opt.Schema = None,
    on_full: opt.OnFull = "stop",
    snapshots: opt.Snapshots = None,
    drafts: opt.Drafts = 0,
    seed: opt.Seed = 0,
    temperature: opt.Temperature = None,
    top_p: opt.TopP = None,
    top_k: opt.TopK = None,
    min_p: opt.MinP = None,
    repetition_penalty: opt.RepetitionPenalty = None,
    presence_penalty: opt.PresencePenalty = None,
    frequency_penalty: opt.FrequencyPenalty = None,
    model: opt.Model = opt.DEFAULT_MODEL,
    adapter: opt.Adapter = None,
    device: opt.Device = "cpu",
    dtype: opt.Dtype = None,
    quantize: opt.Quantize = "none",
    kv_memory: opt.KvMemory = None,
    kv_dtype: opt.KvDtype = None,
    attention: opt.Attention = "auto",
    graphs: opt.Graphs = False,
    compile: opt.Compile = False,  # noqa: A002  torch's name for it
    trust_remote_code: opt.TrustRemoteCode = False,
    trace: opt.Trace = None,
    json: opt.Json = False,
    quiet: opt.Quiet = False,
) -> None:
    """Solve TASK with a team of workers that see each other's words as they are written.

    Ctrl-C stops the workers and asks for the answer from what there is; a second Ctrl-C ends at once.
    """
    crew = req.split_list("--names", names) if names else None
    sampling = {
        "temperature": temperature,
        "top_p": top_p,
        "top_k": top_k,
        "min_p": min_p,
        "repetition_penalty": repetition_penalty,
        "presence_penalty": presence_penalty,
        "frequency_penalty": frequency_penalty,
    }
    request = req.Request(
        task=req.read_task(task),
        model=model,
        workers=workers if workers is not None else len(crew) if crew else 2,
        names=crew,
        layout=layout,
        budget=budget,
        seed=seed,
        sampling={name: value for name, value in sampling.items() if value is not None},
        prompt=_prompt(prompt, prompt_dir),
        assign=_assign(assign, part),
        one_by_one=one_by_one,
        answer=answer,
        schema=req.read_schema(schema) if schema else None,
        on_full=on_full,
        snapshots=req.parse_snapshots(snapshots) if snapshots else (),
        drafts=drafts,
        adapter=adapter,
        device=device,
        dtype=dtype,
        quantize=quantize,
        kv_memory=req.parse_bytes("--kv-memory", kv_memory) if kv_memory else None,
        kv_dtype=kv_dtype,
        attention=attention,
        graphs=graphs,
        compile=compile,
        trust_remote_code=trust_remote_code,
    )
    from hogwild.cli.watch import watch

    watch(request, trace, json=json, quiet=quiet)


def _prompt(name: str | None, folder: Path | None) -> str | Path | None:
    if name and folder:
        raise OptionError("--prompt and --prompt-dir cannot be had together; give one of them")
    return folder or name


def _assign(name: str | None, parts: list[str] | None) -> str | tuple[str, ...]:
    if name and parts:
        raise OptionError("--part and --assign cannot be had together; parts given are assigned as given")
    return tuple(parts) if parts else name or "none"
