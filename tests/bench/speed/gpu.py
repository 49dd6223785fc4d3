"""Section `gpu`: our GPU path with random weights in klue/roberta-base's shape; skipped where there is no CUDA.

    python -m tests.bench.speed.gpu [--try-on-cpu] [--tokenizer FOLDER] [--out FILE.json]

runs it alone, which is what a lent machine wants; `--try-on-cpu` runs tiny sizes to see that the script works.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from transformers import AutoTokenizer, RobertaConfig, RobertaModel

from munjang.encoder.contract import Tokens
from munjang.encoder.encode import encode
from munjang.encoder.load import LoadOptions, load_encoder
from munjang.encoder.postprocess import normalized
from munjang.publishing import Lineage, publish_model
from munjang.registry import Registry
from tests.bench.speed import client, machine, servers, texts
from tests.bench.speed.stats import interleave, ratio, summary, timed
from tests.bench.speed.work import read_shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.bench.speed.context import Context

SHAPE = {"num_hidden_layers": 12, "hidden_size": 768, "intermediate_size": 3072, "num_attention_heads": 12}
TINY = {"num_hidden_layers": 1, "hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 2}
BUDGET = 65_536


def measure(context: Context) -> dict[str, Any]:
    """The section, where there is a CUDA device."""
    if not torch.cuda.is_available():
        return {"skipped": "No CUDA device here; `python -m tests.bench.speed.gpu` is for a machine with one."}
    return measure_on("cuda", context.folder, context.texts, context.work)


def measure_on(device: str, tokenizer: Path, sentences: list[str], work: Path) -> dict[str, Any]:
    """Rates on `device`; a CPU gets tiny sizes.

    Args:
        device: cuda or cpu.
        tokenizer: a model folder to take the tokenizer from.
        sentences: Korean sentences.
        work: a folder to write into.
    """
    tiny = device == "cpu"
    shape = TINY if tiny else SHAPE
    folder = random_model(work / "roberta", tokenizer, shape)
    rates = _in_process(device, folder, sentences, tiny=tiny)
    cosine = _worst_cosine(device, folder, texts.take(sentences, 32 if tiny else 1000))
    operations = read_shape(folder).operations([128]) * rates["rows of 128 tokens, forward alone, a second"]["median"]
    served = _served(device, folder, sentences, work, tiny=tiny)
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu (tiny shape: a try, not a measurement)",
        "shape": ", ".join(f"{name} {value}" for name, value in shape.items()),
        "worst_cosine": cosine,
        "share_of_peak": operations / rates["peak of the matrix product, op/s"]["median"],
        "rates": rates | served,
    }


def random_model(folder: Path, tokenizer: Path, shape: dict[str, int]) -> Path:
    """A sentence-transformers folder of random weights, with 32,000 pieces or as many as the tokenizer has."""
    torch.manual_seed(0)
    words = AutoTokenizer.from_pretrained(str(tokenizer), local_files_only=True)
    size = max(32_000, len(words))
    config = RobertaConfig(vocab_size=size, max_position_embeddings=514, pad_token_id=1, type_vocab_size=1, **shape)
    bare = folder.with_name("bare")
    RobertaModel(config, add_pooling_layer=False).save_pretrained(bare)
    words.save_pretrained(bare)
    modules = [Transformer(str(bare), max_seq_length=512), Pooling(shape["hidden_size"], pooling_mode="mean")]
    SentenceTransformer(modules=modules, device="cpu").save(str(folder))
    return folder


def _in_process(device: str, folder: Path, sentences: list[str], *, tiny: bool) -> dict[str, Any]:
    kind = torch.float32 if tiny else torch.float16
    theirs = SentenceTransformer(str(folder), device=device, local_files_only=True, model_kwargs={"dtype": kind})
    ours = load_encoder(folder, LoadOptions(device=device, runtime="torch"))
    short = texts.take([text for text in sentences if len(text) <= 40], 64 if tiny else 20_000)
    batch = [Tokens((5,) * 128)] * (4 if tiny else 512)
    peak = torch.float32 if tiny else torch.bfloat16
    ways: dict[str, Callable[[], float]] = {
        "sentence-transformers encode with its defaults, short texts a second": lambda: (
            len(short) / timed(lambda: theirs.encode(short, show_progress_bar=False))
        ),
        "munjang, short texts a second": lambda: len(short) / timed(lambda: encode(ours, short, budget=BUDGET)),
        "rows of 128 tokens, forward alone, a second": lambda: len(batch) / timed(lambda: ours.forward(batch)),
        "one short text, forward alone, a second": lambda: 1 / timed(lambda: ours.forward(batch[:1])),
        "peak of the matrix product, op/s": lambda: machine.torch_peak(peak, device),
    }
    for way in ways.values():
        way()  # compile, allocate, warm up
    values = interleave(ways, 2 if tiny else 5, 240)
    times = ratio(values["munjang, short texts a second"], values[next(iter(ways))])
    return {name: summary(found) for name, found in values.items()} | {
        "munjang is × sentence-transformers": summary([times])
    }


def _worst_cosine(device: str, folder: Path, some: list[str]) -> float:
    """Between our vectors on the device and those of float32 on the CPU, one text a call and all together."""
    ours = load_encoder(folder, LoadOptions(device=device, runtime="torch"))
    exact = normalized(encode(load_encoder(folder, LoadOptions(device="cpu", compute_type="float32")), some))
    alone = np.concatenate([encode(ours, [text]) for text in some[:64]])
    together = encode(ours, some, budget=BUDGET)
    return float(min(np.vecdot(normalized(alone), exact[:64]).min(), np.vecdot(normalized(together), exact).min()))


def _served(device: str, folder: Path, sentences: list[str], work: Path, *, tiny: bool) -> dict[str, Any]:
    """One caller with one text a call, and enough of them with 32."""
    registry = Registry(str(work / "gpu-registry"))
    manifest = publish_model(registry, folder, Lineage(base_model="random"))
    registry.promote("stable", manifest.version, "benchmark")
    spec = servers.ours(registry.url, work / "gpu-home")
    environment = {**spec.environment, "MUNJANG_DEVICE": device, "MUNJANG_BATCH_TOKENS": str(4096 if tiny else BUDGET)}
    found = {}
    with servers.running(servers.Spec(spec.name, spec.protocol, spec.command, environment), work) as server:
        for callers, batch in ((1, 1), (64, 1), (64, 32)):
            seconds = {"warmup": 0.3 if tiny else 3.0, "seconds": 0.7 if tiny else 10.0}
            job = {"protocol": "munjang", "port": server.port, "texts": sentences[:2000], **seconds}
            run = asyncio.run(client.run(job | {"callers": callers, "batch": batch}))
            title = f"served, {callers} callers, {batch} a call"
            found[f"{title}, texts a second"] = summary([run["texts_per_second"]])
            found[f"{title}, p50 ms"] = summary([run["latency_ms"]["p50"]])
    return found


def main() -> None:
    """Run this section alone and print its figures as JSON."""
    from tests.bench.speed.context import prepare  # noqa: PLC0415 - the section itself is given what it needs

    parser = argparse.ArgumentParser(prog="python -m tests.bench.speed.gpu")
    parser.add_argument("--try-on-cpu", action="store_true", help="tiny sizes on the CPU, to see that it works")
    parser.add_argument(
        "--tokenizer", type=Path, help="a model folder to take the tokenizer from; default: the starter"
    )
    parser.add_argument("--out", type=Path, help="write the figures to this file too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="munjang-gpu-") as name:
        tokenizer = options.tokenizer or prepare(Path(name), None)[0]
        found = measure_on("cpu" if options.try_on_cpu else "cuda", tokenizer, texts.sentences(None), Path(name))
    text = json.dumps(found | {"machine": machine.describe()}, indent=1, ensure_ascii=False)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", "utf-8")


if __name__ == "__main__":
    main()
