"""The schema of a recipe: data, model, stages, evaluation, gate and publishing, each a validated, frozen section."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from munjang.kinds import Role
from munjang.vectors import Precision


def _known_encoding(name: str) -> str:
    try:
        "".encode(name)
    except (LookupError, ValueError):
        msg = f"{name!r} is not an encoding of texts: write one such as utf-8, cp949 or utf-16"
        raise ValueError(msg) from None
    return name


Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Rate = Annotated[float, Field(gt=0)]
Encoding = Annotated[str, AfterValidator(_known_encoding)]
"""Of text files: any that Python knows, such as cp949 or utf-16."""
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]


class Config(BaseModel):
    """A section of a recipe: unknown keys are refused, and nothing changes after reading."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Leaks = Literal["fail", "drop", "allow"]


class HoldOut(Config):
    """A part of a source that is kept out of training and evaluated instead.

    Rows that share a text stay together. Either a `fraction`, or fold number `fold` of `folds` equal ones, for
    cross-validation. The same seed holds out the same rows.
    """

    fraction: Fraction = 0.0
    folds: NotNegative = 0
    fold: NotNegative = 0

    @model_validator(mode="after")
    def _one_way(self) -> HoldOut:
        if bool(self.fraction) == bool(self.folds):
            msg = "hold_out takes either a fraction above 0 or a number of folds"
            raise ValueError(msg)
        if self.folds == 1 or (self.folds and self.fold >= self.folds):
            msg = f"fold {self.fold} of {self.folds} does not exist: at least 2 folds, counted from 0"
            raise ValueError(msg)
        return self


class _Source(Config):
    files: Annotated[tuple[str, ...], Field(min_length=1)]
    encoding: Encoding = "utf-8"
    hold_out: HoldOut | None = None
    licence: str = ""
    origin: str = ""


class NliSource(_Source):
    """Tab-separated inference pairs (KorNLI) that become triplets (anchor, positive, negative).

    `keep_empty` keeps rows with an empty sentence, as the reference's reader did.
    """

    kind: Literal["nli"]
    keep_empty: bool = False


class StsSource(_Source):
    """Sentence pairs with a score: a table with a header (KorSTS or any other), or KLUE-STS's JSON.

    Scores are divided by `max_score`; the columns are found by these names.
    """

    kind: Literal["sts"]
    columns: tuple[str, str, str] = ("sentence1", "sentence2", "score")
    max_score: Annotated[float, Field(gt=0)] = 5.0


class GroupsSource(_Source):
    """Groups of paraphrases (paraKQC): lines without a header, one text per line, `group_size` lines per group.

    Every group gives `pairs_per_group` pairs for training; held out, all its texts are searched for each other.
    """

    kind: Literal["groups"]
    text_column: NotNegative = 2
    group_size: Positive = 10
    pairs_per_group: Positive = 10


class PairsSource(_Source):
    """Pairs of similar texts: a comma- or tab-separated table with a header.

    With `label`, only rows whose label column holds `same` are pairs. (In songys/Question_pair, `is_duplicate` is 0 for
    pairs of like meaning and 1 for others.)
    """

    kind: Literal["pairs"]
    columns: tuple[str, str] = ("question1", "question2")
    label: str = ""
    same: str = "1"


class TripletsSource(_Source):
    """Ready triplets: a tab- or comma-separated table, or Parquet, with these columns.

    The first is the text or query, the second what belongs to it; all further ones, one or several, do not.
    """

    kind: Literal["triplets"]
    columns: Annotated[tuple[str, ...], Field(min_length=3)] = ("anchor", "positive", "negative")


class BeirSource(_Source):
    """Queries, documents and judgements in BEIR's layout: files of the corpus, of the queries and of the judgements.

    Corpus and queries are JSON lines or Parquet with `_id` (or `id`), `text` and perhaps `title`; the judgements
    (qrels) are tab-separated with a header, JSON lines or Parquet: query id, corpus id, grade. To train on, each query
    is paired with each of its relevant documents; held out, the documents of the held-out queries are searched.
    """

    kind: Literal["beir"]
    files: tuple[str, str, str]


class SquadSource(_Source):
    """Questions with the paragraphs that answer them, in SQuAD's JSON: KorQuAD 1.0, KLUE-MRC.

    Questions that their paragraph does not answer (`is_impossible`) are left out; the paragraph stays to be searched.
    """

    kind: Literal["squad"]


class DocumentsSource(Config):
    """Made-up documents to search, where no passages are at hand that may be trained on: triplets of other sources.

    A pair of like texts gives a query and a document in which the other text stands among texts picked at random. The
    negative is the same document with a random text in its place.

    Attributes:
        of: the sources that give pairs (scored pairs if they score 0.8 or more) and texts.
        rows: how many triplets.
        sentences: the least and the greatest number of texts in a document.
    """

    kind: Literal["documents"]
    of: Annotated[tuple[Name, ...], Field(min_length=1)]
    rows: Positive = 2000
    sentences: tuple[Annotated[int, Field(ge=2)], Positive] = (2, 5)
    files: tuple[()] = ()
    hold_out: None = None
    licence: str = ""

    @property
    def origin(self) -> str:
        """Where its texts come from."""
        return f"made of {', '.join(self.of)}"

    @model_validator(mode="after")
    def _a_range(self) -> DocumentsSource:
        if self.sentences[0] > self.sentences[1]:
            msg = f"sentences are from the least to the greatest number, not {self.sentences}"
            raise ValueError(msg)
        return self


FileSource: TypeAlias = NliSource | StsSource | GroupsSource | PairsSource | TripletsSource | BeirSource | SquadSource
Source: TypeAlias = Annotated[FileSource | DocumentsSource, Field(discriminator="kind")]


class EvaluationSet(Config):
    """One evaluation set: a source that is read whole; `optional` if it may be missing."""

    source: Annotated[FileSource, Field(discriminator="kind")]
    optional: bool = False

    @model_validator(mode="after")
    def _whole(self) -> EvaluationSet:
        if self.source.hold_out:
            msg = "an evaluation set is read whole: hold_out belongs to data.sources"
            raise ValueError(msg)
        return self


class DataConfig(Config):
    """Training sources by name, and evaluation sets by name.

    Attributes:
        folder: the folder of relative file names, or an fsspec URL; --data and MUNJANG_DATA override it.
        sources: what is trained on; a source with `hold_out` gives an evaluation set `<name>-held-out`.
        evaluation: what is only measured.
        leaks: what happens if a training row holds a text of an evaluation set: `fail` ends the run, `drop` leaves
            such rows out of training, `allow` only reports them.
        hashes: files of hashes of texts that must not be trained on, for test sets that are not at hand or may not be
            kept; `prepare --hashes` writes them.
    """

    folder: str = "."
    sources: dict[Name, Source] = Field(default_factory=dict)
    evaluation: dict[Name, EvaluationSet] = Field(default_factory=dict)
    leaks: Leaks = "fail"
    hashes: tuple[str, ...] = ()


class RandomModelConfig(Config):
    """A BERT with random weights and a WordPiece vocabulary made of the training texts: for tests and for speed."""

    layers: Positive = 2
    hidden: Positive = 32
    heads: Positive = 2
    feed_forward: Positive = 64
    vocabulary: Positive = 2000


class LoraConfig(Config):
    """Train low-rank adapters (LoRA) instead of the weights; they are merged into the weights after training.

    Attributes:
        rank, alpha, dropout: as in peft.
        modules: `all-linear`, which is every linear layer but a pooler that nothing uses, or the ends of layers' names.
        last_layers: adapt only this many of the last layers, which also takes less time and memory; 0 adapts all.
    """

    rank: Positive = 16
    alpha: Positive = 32
    dropout: Fraction = 0.0
    modules: tuple[str, ...] | Literal["all-linear"] = "all-linear"
    last_layers: NotNegative = 0


class PruneConfig(Config):
    """Make the model smaller before training.

    Attributes:
        layers: keep this many layers, evenly spread from the first to the last; 0 keeps all.
        vocabulary: keep only the tokens that the training texts use, single characters, and special ones.
    """

    layers: NotNegative = 0
    vocabulary: bool = False


class ModelConfig(Config):
    """The model that training starts from.

    Attributes:
        base: `starter` (the starter model), a sentence-transformers or transformers folder, a hub
            id, a registry version (`version:7`, `version:stable`), or `random`.
        max_tokens: texts are truncated at this many tokens; 0 keeps the base model's limit.
        pooling: how token vectors become one, if the base is a plain transformer.
        prompt: the name of the prompt that is put before every text in training and evaluation; it becomes the model's
            default prompt, so callers who name none get the trained one. Empty: no prompt.
        prompts: prompts by name, added to the base model's.
        dropout: the dropout of hidden states and attention during training; None keeps the base model's.
    """

    base: str
    max_tokens: NotNegative = 0
    pooling: Literal["mean", "cls", "lasttoken"] = "mean"
    prompt: str = ""
    prompts: dict[str, str] = Field(default_factory=dict)
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    random: RandomModelConfig | None = None
    shrink: PruneConfig | None = None
    lora: LoraConfig | None = None

    @model_validator(mode="after")
    def _shape_of_random(self) -> ModelConfig:
        if (self.base == "random") != (self.random is not None):
            msg = "base: random and a part `random:` belong together"
            raise ValueError(msg)
        return self


Loss = Literal["mnrl", "cached-mnrl", "gist", "cosent", "cosine", "distill", "distill-ranking", "margin-mse"]

LOSSES: dict[str, tuple[Loss, ...]] = {
    "triplets": ("mnrl", "cached-mnrl", "gist", "distill", "distill-ranking", "margin-mse"),
    "pairs": ("mnrl", "cached-mnrl", "gist", "distill", "distill-ranking", "margin-mse"),
    "sts": ("cosent", "cosine", "distill"),
}
"""The losses that fit a kind of table."""


class MiningConfig(Config):
    """Search a hard negative for each pair: a text that the model finds near the anchor, though not too near.

    Attributes:
        negatives: how many for each pair.
        skip: leave out this many nearest texts.
        nearest: search among this many nearest texts.
        relative_margin: a negative's score is at most (1 − margin) × the positive's.
    """

    negatives: Positive = 1
    skip: NotNegative = 0
    nearest: Positive = 50
    relative_margin: Annotated[float, Field(ge=0, lt=1)] = 0.05


class TeacherConfig(Config):
    """The model whose vectors a student learns.

    Attributes:
        base: what `model.base` may be, except `random`; or `start`, the model that training starts from.
        prompt: the name of the prompt that the teacher puts before texts that have no role; the others have that of
            their role.
        metric: of distill: how far the student's vector is from the teacher's: cosine and l2 as in EmbedDistill
            (arXiv:2301.12005), mse as in multilingual distillation (arXiv:2004.09813).
    """

    base: str
    prompt: str = ""
    metric: Literal["cosine", "l2", "mse"] = "cosine"


TAUGHT: frozenset[Loss] = frozenset({"distill", "distill-ranking", "margin-mse", "gist"})
"""The losses that learn from a teacher."""


class DatasetConfig(Config):
    """How one source is used in a stage.

    Attributes:
        loss: `mnrl` MultipleNegativesRankingLoss; `cached-mnrl` the same with gradients cached, so that memory no
            longer bounds the batch; `gist` the same, cached, without the negatives that the teacher finds nearer than
            the positive; `cosent` and `cosine` for scored pairs; `distill` towards a teacher's vectors;
            `distill-ranking` towards a teacher's ranking of the batch; `margin-mse` towards a teacher's difference of
            similarities between positive and negative.
        roles: what the texts of a column are for: query or document, which decides their prompt; `negative` stands for
            all negatives. A column without a role has the model's default prompt. Sources of judgements, and documents,
            have their roles by themselves.
        scale: the factor of similarities in mnrl, gist, cosent and distill-ranking.
        teacher_scale: that of the teacher's similarities in distill-ranking.
        contrast: the weight of mnrl beside distill-ranking.
        symmetric: mnrl also from the positive to its anchor.
        mini_batch: texts in one forward of cached-mnrl and gist.
        mine: search hard negatives first (pairs only).
        teacher: for distill, distill-ranking, margin-mse and gist.
    """

    loss: Loss
    roles: dict[str, Role] = Field(default_factory=dict)
    scale: Rate = 20.0
    teacher_scale: Rate = 20.0
    contrast: Annotated[float, Field(ge=0)] = 0.0
    symmetric: bool = False
    mini_batch: Positive = 32
    mine: MiningConfig | None = None
    teacher: TeacherConfig | None = None

    @model_validator(mode="after")
    def _teacher_for_distill(self) -> DatasetConfig:
        if (self.loss in TAUGHT) != (self.teacher is not None):
            msg = f"loss: {self.loss} {'needs' if self.loss in TAUGHT else 'takes no'} `teacher:`"
            raise ValueError(msg)
        if self.mine and self.loss in {"cosent", "cosine", "distill"}:
            msg = f"mine: needs a loss with negatives, not {self.loss}"
            raise ValueError(msg)
        if self.contrast and self.loss != "distill-ranking":
            msg = f"contrast: belongs to distill-ranking, not to {self.loss}"
            raise ValueError(msg)
        return self


class StageConfig(Config):
    """One run over datasets; the next stage goes on from where it ends.

    Attributes:
        datasets: sources by name.
        mixing: several datasets in proportion to their size, or in turn until the smallest is through.
        sampler: `no-duplicates` allows each text, and each group, only once in a batch.
        matryoshka: also train these leading dimensions, each as if it were the whole vector.
        epochs, steps: how long; steps override epochs if above 0.
        batch_size: rows in a batch of one process.
        accumulate: batches that are added up before a step. (It adds no negatives to mnrl: cached-mnrl does.)
        warmup: steps of rising learning rate; below 1, a part of all steps.
        precision: bfloat16 computes in mixed precision.
        drop_last: leave out a last batch that is not full; always so with several processes.
        evaluate_every, save_every: steps between evaluations and between checkpoints; 0: at the end of each epoch.
        keep_checkpoints: how many stay on disk.
        watch: the metric `set.metric` that `keep: best` and `patience` look at.
        average: 0, or the decay of a moving average of the weights over the steps, such as 0.99; the average is what
            the stage saves. Evaluations during the stage use the weights themselves.
        keep: continue with the last weights, or with the best by `watch`.
        patience: stop after this many evaluations without a better metric; 0 never.
    """

    name: Name
    datasets: Annotated[dict[Name, DatasetConfig], Field(min_length=1)]
    mixing: Literal["proportional", "round-robin"] = "proportional"
    sampler: Literal["no-duplicates", "shuffled"] = "no-duplicates"
    matryoshka: tuple[Positive, ...] = ()
    epochs: Rate = 1.0
    steps: NotNegative = 0
    batch_size: Positive = 64
    accumulate: Positive = 1
    learning_rate: Rate = 2e-5
    schedule: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "linear"
    warmup: Annotated[float, Field(ge=0)] = 0.1
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_grad_norm: Rate = 1.0
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    gradient_checkpointing: bool = False
    drop_last: bool = False
    log_every: Positive = 10
    evaluate_every: NotNegative = 0
    save_every: NotNegative = 0
    keep_checkpoints: Positive = 2
    average: Annotated[float, Field(ge=0, lt=1)] = 0.0
    keep: Literal["last", "best"] = "last"
    watch: str = ""
    patience: NotNegative = 0

    @model_validator(mode="after")
    def _watched(self) -> StageConfig:
        if (self.keep == "best" or self.patience) and not self.watch:
            msg = "keep: best and patience need `watch: set.metric`"
            raise ValueError(msg)
        if self.keep == "best" and self.average:
            msg = "keep: best looks at single checkpoints, not at their average: leave one of both out"
            raise ValueError(msg)
        if (self.keep == "best" or self.patience) and self.evaluate_every != self.save_every:
            msg = "keep: best and patience need a checkpoint at every evaluation: save_every = evaluate_every"
            raise ValueError(msg)
        return self


class MergeConfig(Config):
    """Average the weights with those of the model that training started from: what was forgotten comes back.

    Attributes:
        with_: written `with`: `base`, the model that training started from.
        share: the share of that model, above 0.
    """

    model_config = ConfigDict(populate_by_name=True)

    with_: Annotated[Literal["base"], Field(alias="with")]
    share: Annotated[float, Field(gt=0, lt=1)] = 0.5


class CentreConfig(Config):
    """Subtract a share of the mean vector of the training texts before vectors are normalised.

    Vectors of one language lie in a narrow cone; centred ones use the whole range of cosines. The mean is subtracted
    from the bias of the transformer's last layer, so the model keeps its form and its speed.

    Attributes:
        share: of the mean vector.
        texts: the mean is that of so many texts, picked at random, with the default prompt.
    """

    share: Annotated[float, Field(gt=0, le=1)] = 0.5
    texts: Positive = 1000


class TransformConfig(Config):
    """A stage without training: `merge` averages weights, `centre` moves the mean vector."""

    name: Name
    merge: MergeConfig | None = None
    centre: CentreConfig | None = None

    @model_validator(mode="after")
    def _one_of_them(self) -> TransformConfig:
        if (self.merge is None) == (self.centre is None):
            msg = "a stage without datasets has either `merge:` or `centre:`"
            raise ValueError(msg)
        return self


def _form_of_stage(content: object) -> str:
    """Which kind of stage is meant, so that an error speaks of that one only."""
    if isinstance(content, dict):
        return "transform" if {"merge", "centre"} & set(content) else "train"
    return "transform" if isinstance(content, TransformConfig) else "train"


AnyStage: TypeAlias = Annotated[
    Annotated[StageConfig, Tag("train")] | Annotated[TransformConfig, Tag("transform")],
    Discriminator(_form_of_stage),
]


class EvaluationConfig(Config):
    """What is measured besides the plain metrics of every set.

    Attributes:
        during_training: the sets that are evaluated while training; empty: none.
        dimensions: Matryoshka cuts to measure as well; the model's own full length is always measured.
        precisions: number formats to measure as well.
        resamples: bootstrap resamples for intervals.
    """

    during_training: tuple[Name, ...] = ()
    dimensions: tuple[Positive, ...] = ()
    precisions: tuple[Precision, ...] = tuple(Precision)
    resamples: Annotated[int, Field(ge=100)] = 1000


class GateConfig(Config):
    """The conditions under which a model is published.

    Attributes:
        alias: the version that this alias names is what the model is compared with.
        metrics: the metrics `set.metric` that are compared; empty: the main metric of every set.
        margin: how much a metric may be below the serving version's.
        margins: another margin for single metrics `set.metric`, which are compared as well.
        confidence: the level of the bootstrap interval; a metric is refused only if the whole interval of the
            difference is below the margin, so that noise refuses nothing.
        minimum: metrics that must always be reached.
        maximum: metrics that must never be exceeded, such as the mean cosine of random pairs.
        tolerance: how far the saved model, loaded in a fresh process, may be from the metrics of training.
        allow_dimension_change: whether the vectors may have another length than the serving version's.
    """

    alias: str = "stable"
    metrics: tuple[str, ...] = ()
    margin: Annotated[float, Field(ge=0)] = 0.0
    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    margins: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    minimum: dict[str, float] = Field(default_factory=dict)
    maximum: dict[str, float] = Field(default_factory=dict)
    tolerance: Annotated[float, Field(gt=0)] = 1e-4
    allow_dimension_change: bool = False


class PublishConfig(Config):
    """What the manifest and the card say about the model.

    Attributes:
        languages: ISO codes.
        licence: of the weights.
        intended_use, limits: for the card.
    """

    languages: tuple[str, ...] = ("ko",)
    licence: str = ""
    intended_use: str = ""
    limits: str = ""


_KIND_OF_TABLE = {
    "nli": "triplets",
    "triplets": "triplets",
    "groups": "pairs",
    "pairs": "pairs",
    "beir": "pairs",
    "squad": "pairs",
    "documents": "triplets",
    "sts": "sts",
}
ROLE_COLUMNS = {
    "triplets": frozenset({"anchor", "positive", "negative"}),
    "pairs": frozenset({"anchor", "positive", "negative"}),
    "sts": frozenset({"sentence1", "sentence2"}),
}
"""The columns that may have a role, by kind of table; negatives of pairs are mined ones."""


class Recipe(Config):
    """How a model is made.

    Attributes:
        name: names the run's folder, and the recipe in the manifest.
        title: one line for people.
        seed: of every random choice.
        threads: CPU threads; 0 leaves torch's own choice.
    """

    name: Name
    title: str = ""
    seed: NotNegative = 42
    threads: NotNegative = 0
    model: ModelConfig
    data: DataConfig
    stages: Annotated[tuple[AnyStage, ...], Field(min_length=1)]
    evaluation: EvaluationConfig = EvaluationConfig()
    gate: GateConfig = GateConfig()
    publish: PublishConfig = PublishConfig()

    @model_validator(mode="after")
    def _consistent(self) -> Recipe:
        names = [stage.name for stage in self.stages]
        if len(set(names)) != len(names):
            msg = f"stages need different names, not {', '.join(names)}"
            raise ValueError(msg)
        for stage in self.trainings:
            self._check_datasets(stage)
            self._check_sets((stage.watch,) if stage.watch else ())
        for name, source in self.data.sources.items():
            self._check_origins(name, source)
        gate = self.gate
        self._check_sets((*gate.metrics, *gate.margins, *gate.minimum, *gate.maximum))
        self._check_sets(tuple(f"{name}." for name in self.evaluation.during_training))
        for stage in self.trainings:
            if stage.watch and stage.watch.partition(".")[0] not in self.evaluation.during_training:
                msg = f"{stage.watch!r} is watched, but its set is not in evaluation.during_training"
                raise ValueError(msg)
        return self

    @property
    def trainings(self) -> tuple[StageConfig, ...]:
        """The stages that train."""
        return tuple(stage for stage in self.stages if isinstance(stage, StageConfig))

    def roles(self, name: str, part: DatasetConfig) -> dict[str, Role]:
        """What the columns of a source are for in a stage."""
        searched = {"anchor": Role.QUERY, "positive": Role.DOCUMENT, "negative": Role.DOCUMENT}
        known = searched if self.data.sources[name].kind in {"beir", "squad", "documents"} else {}
        return known | part.roles

    @property
    def sets(self) -> frozenset[str]:
        """The names of all evaluation sets."""
        held_out = {f"{name}-held-out" for name, source in self.data.sources.items() if source.hold_out}
        return frozenset(self.data.evaluation) | held_out

    def _check_datasets(self, stage: StageConfig) -> None:
        for name, dataset in stage.datasets.items():
            source = self.data.sources.get(name)
            if source is None:
                msg = f"stage {stage.name!r} uses {name!r}, which is not among data.sources"
                raise ValueError(msg)
            kind = _KIND_OF_TABLE[source.kind]
            columns = ROLE_COLUMNS[kind]
            if strange := sorted(set(dataset.roles) - columns):
                msg = f"{name!r} gives {kind}, whose columns are {', '.join(sorted(columns))}, not {', '.join(strange)}"
                raise ValueError(msg)
            if dataset.loss == "margin-mse" and kind == "pairs" and not dataset.mine:
                msg = f"{name!r} gives pairs: margin-mse needs negatives, which `mine:` finds"
                raise ValueError(msg)
            if dataset.loss not in LOSSES[kind]:
                msg = f"{name!r} gives {kind}, which take the losses {', '.join(LOSSES[kind])}, not {dataset.loss}"
                raise ValueError(msg)
            if dataset.mine and kind != "pairs":
                msg = f"{name!r} gives {kind}: negatives are mined for pairs only"
                raise ValueError(msg)

    def _check_origins(self, name: str, source: Source) -> None:
        if isinstance(source, DocumentsSource):
            for other in source.of:
                if other not in self.data.sources or isinstance(self.data.sources[other], DocumentsSource):
                    msg = f"{name!r} is made of {other!r}, which is no source that is read from files"
                    raise ValueError(msg)

    def _check_sets(self, figures: tuple[str, ...]) -> None:
        for figure in figures:
            name, dot, _ = figure.partition(".")
            if name not in self.sets or not dot:
                msg = f"{figure!r} is not `set.metric` of an evaluation set; there are {', '.join(sorted(self.sets))}"
                raise ValueError(msg)
