"""Where methods and data come from: what was used is cited, in BibTeX."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from munjang_trainer.recipe.recipe import Recipe

_SBERT = """@inproceedings{reimers-2019-sentence-bert,
  title = "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks",
  author = "Reimers, Nils and Gurevych, Iryna", booktitle = "EMNLP", year = "2019",
  url = "https://arxiv.org/abs/1908.10084" }"""

_E5 = """@article{wang-2024-multilingual-e5,
  title = "Multilingual E5 Text Embeddings: A Technical Report",
  author = "Wang, Liang and Yang, Nan and Huang, Xiaolong and Yang, Linjun and Majumder, Rangan and Wei, Furu",
  year = "2024", url = "https://arxiv.org/abs/2402.05672" }"""

_KLUE = """@article{park-2021-klue,
  title = "KLUE: Korean Language Understanding Evaluation", author = "Park, Sungjoon and others",
  year = "2021", url = "https://arxiv.org/abs/2105.09680" }"""

_KORNLU = """@article{ham-2020-kornli,
  title = "KorNLI and KorSTS: New Benchmark Datasets for Korean Natural Language Understanding",
  author = "Ham, Jiyeon and Choe, Yo Joong and Park, Kyubyong and Choi, Ilji and Soh, Hyungjoon",
  year = "2020", url = "https://arxiv.org/abs/2004.03289" }"""

_PARAKQC = """@article{cho-2019-parakqc,
  title = "Discourse Component to Sentence (DC2S): An Efficient Human-Aided Construction of Paraphrase and Sentence
           Similarity Dataset", author = "Cho, Won Ik and others", year = "2020" }"""

_LOSSES = {
    "mnrl": """@article{henderson-2017-efficient,
  title = "Efficient Natural Language Response Suggestion for Smart Reply", author = "Henderson, Matthew and others",
  year = "2017", url = "https://arxiv.org/abs/1705.00652" }""",
    "cached-mnrl": """@article{gao-2021-scaling,
  title = "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup",
  author = "Gao, Luyu and Zhang, Yunyi and Han, Jiawei and Callan, Jamie", year = "2021",
  url = "https://arxiv.org/abs/2101.06983" }""",
    "cosent": """@online{su-2022-cosent,
  title = "CoSENT: A more efficient sentence vector scheme than Sentence-BERT", author = "Su, Jianlin", year = "2022",
  url = "https://kexue.fm/archives/8847" }""",
    "distill": """@article{kim-2023-embeddistill,
  title = "EmbedDistill: A Geometric Knowledge Distillation for Information Retrieval",
  author = "Kim, Seungyeon and others", year = "2023", url = "https://arxiv.org/abs/2301.12005" }""",
}

_MATRYOSHKA = """@inproceedings{kusupati-2022-matryoshka,
  title = "Matryoshka Representation Learning", author = "Kusupati, Aditya and others", booktitle = "NeurIPS",
  year = "2022", url = "https://arxiv.org/abs/2205.13147" }"""

_LORA = """@article{hu-2021-lora,
  title = "LoRA: Low-Rank Adaptation of Large Language Models", author = "Hu, Edward J. and others", year = "2021",
  url = "https://arxiv.org/abs/2106.09685" }"""


def citations(recipe: Recipe) -> str:
    """The section with what this recipe used."""
    entries = "\n\n".join(dict.fromkeys(_used(recipe)))
    return f"## Citations\n\n```bibtex\n{entries}\n```\n"


def _used(recipe: Recipe) -> Iterable[str]:
    yield _SBERT
    base = recipe.model.base
    if base == "starter" or "e5" in base:
        yield _E5
    if base.startswith("klue/") or "klue-sts" in recipe.sets:
        yield _KLUE
    origins = {source.origin for source in recipe.data.sources.values()}
    origins |= {evaluated.source.origin for evaluated in recipe.data.evaluation.values()}
    if any("kor-nlu" in origin for origin in origins):
        yield _KORNLU
    if any("paraKQC" in origin for origin in origins):
        yield _PARAKQC
    for stage in recipe.stages:
        yield from (_LOSSES[part.loss] for part in stage.datasets.values() if part.loss in _LOSSES)
        if stage.matryoshka:
            yield _MATRYOSHKA
    if recipe.model.lora:
        yield _LORA
