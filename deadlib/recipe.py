"""The recipe: one validated YAML file that says how a model is trained.

A recipe is a tree of frozen pydantic models. An unknown key is refused with the path to it and
the nearest known one; every field carries a description, which `deadlib-train --explain` prints.
Reading a recipe imports neither TensorFlow nor Keras.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveInt,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo

from deadlib.errors import RecipeError
from deadlib.presets import expanded


class _Yaml(yaml.SafeLoader):
    """YAML in which `on` and `off` are words, as in YAML 1.2, and only true and false are not."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        first: [(tag, known) for tag, known in resolvers if tag != "tag:yaml.org,2002:bool"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


_Yaml.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile("^(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)


class Section(BaseModel):
    """A part of a recipe: frozen, and closed to keys that nothing reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")


Kind = TypeVar("Kind", bound=Section)


ModelName = Literal[
    "small_cnn",
    "deadnet",
    "resnet34",
    "resnet50",
    "resnet101",
    "densenet121",
    "efficientnetb0",
]


NormaliseName = Literal[
    "per_image",
    "per_image_16bit",
    "half_contrast",
    "plate",
    "plate_robust",
    "dataset",
    "imagenet",
    "none",
]


WHOLE: NormaliseName = "per_image_16bit"
"""What normalises whole images, so that windows are drawn from them afterwards."""

RELATIVE: tuple[NormaliseName, ...] = ("per_image", "half_contrast", WHOLE)
"""What looks at an image's own statistics, and not at how bright it is beside others."""


class ModelSection(Section):
    """Which network."""

    name: ModelName = Field("small_cnn", description="the network; see docs/models.md")
    weights: str = Field(
        "random",
        description="random; imagenet (downloads Keras' own weights; stems of other than 3 "
        "channels are inflated); or the path of a model.keras of the same network",
    )
    stem: Literal["scaled_mean", "extra_mean", "mean", "random"] = Field(
        "scaled_mean",
        description="with weights: imagenet, how the kernels of its first convolution, for red, "
        "green and blue, become those of other channels: scaled_mean, three channels keep them, "
        "any other number C gets their mean times 3 / C; extra_mean, the first three channels keep "
        "them, further ones get their mean (CellDeathPred's EfficientNet); mean, every channel "
        "gets their mean (its ResNets); random, they are not used (its DenseNets, whose stem then "
        "has a bias)",
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="dropout between the embedding and what follows it"
    )
    head: Literal["average", "concat"] = Field(
        "average",
        description="what follows the last feature map: average, its mean over the image and the "
        "logits; concat, its largest value and its mean, batch normalisation, half the dropout, "
        "512 units, ReLU, batch normalisation, dropout and the logits (fastai, celldeath)",
    )
    embedder: tuple[PositiveInt, ...] = Field(
        (),
        description="dense layers between the mean over the image and the embedding, with head: "
        "average: [], none; [512], one of 512 units and batch normalisation; [1024, 512], 1024 "
        "units, ReLU and batch normalisation, then 512 units, which are the embedding",
    )
    classifier: tuple[PositiveInt, ...] = Field(
        (),
        description="hidden layers between the embedding and the logits: so many units, batch "
        "normalisation and ReLU each",
    )
    stride_in: Literal["1x1", "3x3"] = Field(
        "1x1",
        description="resnet50 and resnet101 only: which convolution of a block halves the size: "
        "1x1, the first (He et al. 2016, Keras' ImageNet weights); 3x3, the second (torchvision, "
        "celldeath)",
    )
    pooling: Literal["ceil", "floor"] = Field(
        "ceil", description="deadnet only: how 2 x 2 pooling rounds odd sizes (D-2)"
    )
    dense_batch_norm: bool = Field(
        False, description="deadnet only: batch normalisation on the dense layers (D-5)"
    )
    bn_at_test: Literal["moving", "batch"] = Field(
        "moving",
        description="whose statistics batch normalisation takes in validation and prediction: "
        "moving, the means of the training, so that an image's answer is its own; batch, those of "
        "the images it is shown with, training.batch at a time in a mixed order (D-6)",
    )
    width: int = Field(32, ge=4, description="small_cnn only: filters of the first block")
    blocks: int = Field(3, ge=1, le=6, description="small_cnn only: blocks, each halving the size")


class InputSection(Section):
    """From a stored image to what the network sees; the same in training, prediction, serving."""

    size_px: tuple[int, int] = Field(
        (64, 64), description="rows and columns of what the network sees"
    )
    fit: Literal["resize", "crop"] = Field(
        "resize",
        description="resize: the whole image, bilinear with antialiasing; crop: a window of "
        "size_px, random in training, central otherwise",
    )
    crops: Literal[1, 5] = Field(
        1,
        description="with fit: crop: 1, one window; 5, the four corners and the centre of each "
        "image, in training as in prediction: the mean of their embeddings is the image's "
        "(CellDeathPred)",
    )
    interpolation: Literal["bilinear", "bicubic"] = Field(
        "bilinear",
        description="how geometric augmentations read between pixels; bicubic keeps fine texture "
        "sharper and takes twice as long",
    )
    equalise: bool = Field(
        False,
        description="make the histogram of each channel of each whole image even before all else: "
        "an intensity becomes the share of the pixels that are no brighter, in (0, 1]",
    )
    normalise: NormaliseName = Field(
        "per_image",
        description="per_image: zero mean and unit variance of each channel of each image (of the "
        "window, with fit: crop); per_image_16bit: the same of the whole stored image, in steps of "
        "1/4000 and within 8.19 like 16-bit integers, before the window is drawn, which then comes "
        "after all augmentation (DeadNet's stored crops); "
        "half_contrast: as per_image, but half (in logarithm) of the contrast relative to the mean "
        "intensity stays, where contrast itself tells: (x - mean) / sqrt(deviation x mean / 5), "
        "unchanged by exposure, deviation at most 3; "
        "plate: mean and deviation of the image's plate, per channel; "
        "plate_robust: median of the plate, and its 1st to 99th percentile for a scale, where "
        "debris or saturation would move mean and deviation; "
        "dataset: mean and deviation of the training split, per channel; imagenet: those of "
        "ImageNet's red, green and blue, and their mean for images of other channels; none: "
        "intensities in "
        "0-1 (integer types are divided by their largest value)",
    )
    illumination: bool = Field(
        False,
        description="divide images by the shading of their plate; needs a dataset converted with "
        "--illumination",
    )
    cache: Literal["auto", "memory", "disk", "off"] = Field(
        "auto",
        description="where training keeps decoded and resized images between epochs: memory; disk: "
        "a file in cache_folder; off: nowhere, they are read from the shards; auto: memory for a "
        "split of at most 512 MiB, off for a larger one",
    )
    cache_folder: str | None = Field(
        None, description="for cache: disk; by default the folder cache beside the run directory"
    )

    @property
    def crops_last(self) -> bool:
        """Whether the window is cut from the normalised image, and not normalised itself."""
        return self.fit == "crop" and self.normalise == WHOLE

    @model_validator(mode="after")
    def _five_crops_are_cropped(self) -> InputSection:
        if self.crops > 1 and self.fit != "crop":
            raise ValueError(
                f"crops: {self.crops} windows are cut with fit: crop only; set that, and size_px "
                "to the size of a window"
            )
        return self

    @model_validator(mode="after")
    def _equalised_images_have_forgotten_their_plate(self) -> InputSection:
        if self.equalise and (self.illumination or self.normalise.startswith("plate")):
            raise ValueError(
                "equalise forgets the intensities that normalise: plate and illumination correct; "
                "leave one of them out"
            )
        return self


class SplitSection(Section):
    """Other splits, or other classes, than the conversion's, of the same dataset."""

    where: tuple[str, ...] = Field(
        (),
        description="conditions such as time_hours == 1; only examples that meet all of them count",
    )
    learn_from: tuple[str, ...] = Field(
        (),
        description="such conditions for training and validation alone, as label != dose; the test "
        "has all examples, those of classes that are not learnt without a label",
    )
    label: tuple[str, ...] = Field(
        (),
        description="columns whose values, joined by a space, are the class, as "
        "[cell_line, treatment]; by default the label of the conversion",
    )
    by: tuple[str, ...] = Field(
        (),
        description="columns whose values never cross splits; by default the groups of the "
        "conversion; [example] tears images apart, and its figures say nothing about new images",
    )
    hold_out: tuple[str, ...] = Field(
        (),
        description="experiment=N4 makes that the test split; validation:plate=2 the validation",
    )
    fractions: tuple[float, float, float] | None = Field(
        None,
        description="shares of train, validation and test of what is not held out; by default "
        "0.7, 0.3, 0 where there are other keys of this section but where and label, else those "
        "of the conversion",
    )
    calibration: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the training examples, in whole groups, that no training sees: the "
        "split `calibration`, on which deadlib-calibrate fits",
    )
    folds: int | None = Field(
        None,
        ge=2,
        description="cross-validation: so many parts of all groups, classes alike in each, of "
        "which one is the test split",
    )
    fold: int = Field(0, ge=0, description="which of the folds is the test split, from 0")
    seed: int = Field(0, ge=0, description="draws the splits; apart from the seed of the training")


class AugmentStep(Section):
    """One augmentation: its name and the parameters of that layer."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str = Field(description="a name in deadlib.augment.AUGMENTATIONS")

    @property
    def parameters(self) -> dict[str, Any]:
        return dict(self.model_extra or {})


class LossSection(Section):
    """What is minimised."""

    name: Literal["cross_entropy", "focal"] = Field("cross_entropy", description="the loss")
    targets: Literal["labels", "votes"] = Field(
        "labels",
        description="what the network is to answer: labels, the class of each image for sure; "
        "votes, the share of the annotators who said each class, of a dataset converted with "
        "--agreement votes or majority; see docs/train.md",
    )
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share spread over all classes")
    class_weights: Literal["none", "balanced"] | dict[str, float] = Field(
        "none", description="none; balanced (inverse frequency, mean 1); or a weight by class name"
    )
    focal_gamma: float = Field(2.0, ge=0, description="focal only: the focusing exponent")
    weight: float = Field(
        1.0, gt=0, description="times the loss, in the sum with metric_loss; see docs/contrast.md"
    )


class MetricLossSection(Section):
    """What is minimised beside the loss: where the embeddings of a batch lie to each other."""

    name: Literal["none", "supervised_contrastive", "triplet", "proxy_anchor"] = Field(
        "none", description="none, the loss of the classes alone; see docs/contrast.md"
    )
    weight: float = Field(0.5, gt=0, description="times the metric loss, in the sum with loss")
    temperature: float = Field(
        0.1,
        gt=0,
        description="supervised_contrastive only: small ones look at the nearest examples alone",
    )
    margin: float = Field(
        0.1,
        ge=0,
        description="triplet: by how much a positive should be nearer than a negative, as a "
        "distance of 0-2; proxy_anchor: the paper's delta, as a cosine",
    )
    alpha: float = Field(
        32.0, gt=0, description="proxy_anchor only: large ones look at the hardest examples alone"
    )
    pairs: Literal["classes", "across_plates", "mined"] = Field(
        "classes",
        description="supervised_contrastive and triplet: which examples are drawn together and "
        "which pushed apart. classes: of one class, and of two; across_plates: of one class on two "
        "plates, and of two classes on one plate; mined: CellDeathPred's hard triplets of the two "
        "plates named first (P-10)",
    )


def _as_texts(found: Any) -> Any:
    return (found,) if isinstance(found, str) else found


class SamplingSection(Section):
    """Which examples come into a batch together."""

    name: Literal["random", "plates_and_classes"] = Field(
        "random",
        description="random: every example once an epoch, in a random order; plates_and_classes: "
        "batches of so many plates x classes x samples, every example at least once an epoch; see "
        "docs/contrast.md",
    )
    plates: int = Field(2, ge=1, description="plates_and_classes only: plates in a batch")
    classes: int | None = Field(
        None, ge=1, description="plates_and_classes only: classes in a batch; by default all"
    )
    samples: int = Field(
        5, ge=1, description="plates_and_classes only: examples of each class of each plate"
    )
    by: Annotated[tuple[str, ...], BeforeValidator(_as_texts)] = Field(
        ("plate",),
        description="the column, or columns, whose values count as plates: [experiment], "
        "[plate, imaging_mode]; also for metric_loss.pairs",
    )


class FreezeSection(Section):
    """What stays as model.weights has it. The scales and shifts of norms, and the head, learn."""

    batch_norm: bool = Field(
        False,
        description="batch normalisation of the body goes by the statistics that model.weights "
        "came with, also in training; its scale and shift learn all the same (CellDeathPred)",
    )

    body: Literal["never", "first", "always"] = Field(
        "never",
        description="the convolutions: never, they learn from the first step; first, after "
        "`epochs`, with an optimiser that begins anew; always, they never learn (what celldeath "
        "calls from scratch, C-9)",
    )
    epochs: int = Field(
        1, ge=1, description="first only: so many of the epochs of training come before that"
    )
    learning_rate: float = Field(
        0.01,
        gt=0,
        description="first only: peak learning rate of these epochs, of all that learns",
    )


class Multipliers(Section):
    """How some variables learn and decay, compared with the rest."""

    learning_rate: float = Field(1.0, ge=0, description="times the learning rate")
    decay: float | None = Field(
        None, ge=0, description="times the weight decay; by default 1 for kernels, 0 for the rest"
    )


CAFFE_MULTIPLIERS = {
    "*conv*/bias": {"learning_rate": 2.0, "decay": 0.0},
    "*/bias": {"decay": 1.0},
    "*/gamma": {"decay": 1.0},
    "*/beta": {"decay": 1.0},
}
"""DeadNet's released files: lr_mult 1 and 2, decay_mult 1 and 0 for the kernels and biases of
convolutions, and Caffe's own 1 for everything else."""


def _multipliers_by_name(found: Any) -> Any:
    if not isinstance(found, str):
        return found
    if found != "caffe":
        raise ValueError("expected caffe, or multipliers by pattern of variable names")
    return CAFFE_MULTIPLIERS


class OptimiserSection(Section):
    """How the weights move."""

    name: Literal["sgd", "adam", "adamw"] = Field("adamw", description="the optimiser")
    learning_rate: float = Field(1e-3, gt=0, description="peak learning rate")
    lowest_learning_rate: float | None = Field(
        None,
        gt=0,
        description="the peak rate of the first part of the network; the rest of its body learns "
        "at the geometric mean of this and learning_rate, the head at learning_rate "
        "(discriminative learning rates); by default all learn alike",
    )
    weight_decay: float = Field(
        1e-4,
        ge=0,
        description="adamw: decoupled decay; sgd and adam: L2 (gradient += decay x weight). "
        "Kernels only, unless multipliers say otherwise",
    )
    multipliers: Annotated[dict[str, Multipliers], BeforeValidator(_multipliers_by_name)] = Field(
        {},
        description="{learning_rate: x, decay: y} by pattern of variable names, as in conv*/bias, "
        "fc1/kernel, */gamma; the first pattern that fits counts. caffe stands for those of "
        "DeadNet's released files (D-8): biases of convolutions learn twice as fast and never "
        "decay, everything else decays",
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="sgd only")
    nesterov: bool = Field(True, description="sgd only")
    beta_1: float = Field(0.9, ge=0, lt=1, description="adam and adamw: memory for the gradient")
    beta_2: float = Field(
        0.999, ge=0, lt=1, description="adam and adamw: memory for the gradient's square"
    )
    epsilon: float = Field(
        1e-7, gt=0, description="adam and adamw: added to the root of the gradient's square"
    )
    clip_norm: float | None = Field(None, gt=0, description="clip the global gradient norm")


class ScheduleSection(Section):
    """How the learning rate goes over the steps."""

    name: Literal["constant", "inverse", "cosine", "one_cycle"] = Field(
        "cosine", description="the schedule"
    )
    warmup_steps: int = Field(0, ge=0, description="cosine only: linear rise from 0")
    final_fraction: float = Field(
        0.0, ge=0, le=1, description="cosine only: last rate as a share of the peak"
    )
    momentum: tuple[float, float] | None = Field(
        None,
        description="one_cycle only: momentum (sgd) or beta_1 (adam, adamw) goes from the first of "
        "two numbers to the second while the rate rises, and back while it falls, for example "
        "[0.95, 0.85]; by default it stays",
    )
    gamma: float = Field(1e-5, ge=0, description="inverse only: rate x (1 + gamma step)^-power")
    power: float = Field(0.75, ge=0, description="inverse only")

    @model_validator(mode="after")
    def _momentum_goes_with_one_cycle(self) -> ScheduleSection:
        if self.momentum is None:
            return self
        if self.name != "one_cycle":
            raise ValueError("momentum cycles with name: one_cycle only; leave it out")
        if not all(0 <= value < 1 for value in self.momentum):
            raise ValueError("momentum: expected two numbers from 0 to below 1")
        return self


class TrainingSection(Section):
    """How long, on what, and how exactly."""

    epochs: int | None = Field(20, ge=1, description="passes over the training split")
    steps: int | None = Field(
        None, ge=1, description="the length of the training in steps, instead of epochs"
    )
    batch: int = Field(32, ge=1, description="examples a step, over all devices together")
    drop_last: bool = Field(
        False,
        description="leave the last batch of an epoch out where it would be smaller; other "
        "examples are left out in each epoch",
    )
    mixed_precision: bool = Field(False, description="float16 on GPUs, bfloat16 on CPUs and TPUs")
    jit: Literal["auto", "on", "off"] = Field(
        "auto", description="XLA for the step; auto: on where there is a GPU, off on CPUs"
    )
    augment_on: Literal["device", "host"] = Field(
        "device",
        description="where images are augmented: device, within the step; host, by the processor "
        "while the device computes the steps before. The images are the same",
    )
    strategy: Literal["auto", "one", "mirrored"] = Field(
        "auto", description="auto: mirrored where there are two GPUs or more, otherwise one device"
    )
    deterministic: bool = Field(
        True, description="same seed, same weights; costs some speed on GPUs"
    )
    checkpoint_every_steps: int = Field(
        500,
        ge=1,
        description="a checkpoint to resume from; one is also written after each validation",
    )
    snapshot_every_steps: int | None = Field(
        None,
        ge=1,
        description="keep the network of every so many steps, as snapshots/<step>.keras in the "
        "run directory; deadlib-predict --snapshot STEP takes one",
    )

    @model_validator(mode="before")
    @classmethod
    def _steps_stand_for_the_usual_epochs(cls, found: Any) -> Any:
        if isinstance(found, Mapping) and found.get("steps") is not None:
            return {"epochs": None, **found}
        return found

    @model_validator(mode="after")
    def _length_is_said_once(self) -> TrainingSection:
        if (self.epochs is None) == (self.steps is None):
            raise ValueError(
                "give the length of the training as epochs or as steps, the other as null"
            )
        return self


class ValidationSection(Section):
    """When the network is validated, on what, and which weights are kept."""

    metric: Literal[
        "loss",
        "accuracy",
        "balanced_accuracy",
        "macro_f1",
        "roc_auc",
        "average_precision",
        "map_at_r",
    ] = Field(
        "balanced_accuracy",
        description="the metric, over groups, that picks the weights kept; map_at_r: how well the "
        "nearest embeddings of a group are those of its class",
    )
    group_by: str | None = Field(
        None,
        description="the column whose examples are averaged before the metric; by default the "
        "one that the dataset was split by",
    )
    every_steps: int | None = Field(
        None, ge=1, description="validate after every so many steps; by default after each epoch"
    )
    examples: int | None = Field(
        None,
        ge=1,
        description="how many examples of the validation split are looked at, chosen once by the "
        "seed, classes in the shares that they have in the split; by default all",
    )
    keep: Literal["best", "last"] = Field(
        "best",
        description="best: the weights of the validation with the best metric; last: the last "
        "ones, wiser where the validation split is so small that its best is a matter of chance "
        "and the learning rate falls to nothing",
    )
    patience_epochs: int | None = Field(
        None,
        ge=1,
        description="stop after this many epochs without improvement, asked after each validation",
    )

    @model_validator(mode="after")
    def _patience_waits_for_a_best_epoch(self) -> ValidationSection:
        if self.keep == "last" and self.patience_epochs is not None:
            raise ValueError("patience_epochs needs keep: best; with keep: last leave it out")
        return self


class Recipe(Section):
    """A whole recipe."""

    dataset: str = Field(description="the dataset directory, relative to the current folder")
    seed: int = Field(0, ge=0, lt=2**31, description="seeds weights, order and augmentation")
    split: SplitSection = Field(default_factory=SplitSection)
    model: ModelSection = Field(default_factory=ModelSection)
    input: InputSection = Field(default_factory=InputSection)
    augment: Annotated[tuple[AugmentStep, ...], BeforeValidator(expanded)] = Field(
        (),
        description="augmentations, in this order; the name of a preset stands for its steps, as "
        "the whole list or within it",
    )
    sampling: SamplingSection = Field(default_factory=SamplingSection)
    loss: LossSection = Field(default_factory=LossSection)
    metric_loss: MetricLossSection = Field(default_factory=MetricLossSection)
    freeze: FreezeSection = Field(default_factory=FreezeSection)
    optimiser: OptimiserSection = Field(default_factory=OptimiserSection)
    schedule: ScheduleSection = Field(default_factory=ScheduleSection)
    training: TrainingSection = Field(default_factory=TrainingSection)
    validation: ValidationSection = Field(default_factory=ValidationSection)


Overrides = Annotated[Sequence[str], "key.path=value"]


def load_recipe(path: str | Path, overrides: Overrides = ()) -> Recipe:
    """Read a recipe file and apply `key.path=value` overrides (values are YAML).

    Raises RecipeError, naming the file, the path of the key, what was found and what was expected.
    """
    tree = read_mapping(path, "a recipe")
    for override in overrides:
        _apply_override(tree, override)
    return parse_recipe(tree, origin=str(path))


def read_mapping(path: str | Path, kind: str) -> dict[str, Any]:
    """A YAML file of sections, not validated; `kind` is what it is, as in `a recipe`.

    Raises RecipeError where it cannot be read, is no YAML, or holds something else.
    """
    path, noun = Path(path), kind.partition(" ")[2]
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise RecipeError(f"{path}: cannot read the {noun} ({error.strerror})") from None
    except UnicodeDecodeError:
        raise RecipeError(f"{path}: not UTF-8 text; save the {noun} as UTF-8") from None
    try:
        tree = yaml.load(text, _Yaml)
    except yaml.YAMLError as error:
        raise RecipeError(f"{path}: not valid YAML: {error}") from None
    if not isinstance(tree, dict):
        raise RecipeError(f"{path}: {kind} is a mapping of sections, found {type(tree).__name__}")
    return tree


def parse_recipe(tree: Mapping[str, Any], origin: str = "recipe") -> Recipe:
    """Validate a recipe given as a mapping. Raises RecipeError."""
    return validated(Recipe, tree, origin)


def validated(kind: type[Kind], tree: Mapping[str, Any], origin: str) -> Kind:
    """A mapping as a section of this kind, every problem told in a line. Raises RecipeError."""
    try:
        return kind.model_validate(tree)
    except ValidationError as error:
        problems = "\n".join(_describe(problem, kind) for problem in error.errors())
        raise RecipeError(f"{origin}:\n{problems}") from None


def recipe_text(recipe: Recipe) -> str:
    """The resolved recipe as YAML that `load_recipe` reads back to the same recipe."""
    return yaml.safe_dump(recipe.model_dump(mode="json"), sort_keys=False)


def explained_text(recipe: Recipe) -> str:
    """As `recipe_text`, with what every key means as a comment above it."""
    return "\n".join(_explained_lines(recipe, "")) + "\n"


def reference_text() -> str:
    """Every key of a recipe as Markdown tables; docs/recipe.md is this text."""
    parts = [
        "# The recipe\n",
        "A recipe is one YAML file. Every key below may be left out except `dataset`; an unknown "
        "key is refused. `deadlib-train RECIPE --explain` prints a recipe with all its defaults, "
        "and `--set training.epochs=5` changes one key from the command line.\n",
        "<!-- Generated from deadlib/recipe.py; to write it again:\n"
        "python -c \"from deadlib.recipe import reference_text; print(reference_text(), end='')\" "
        "> docs/recipe.md -->\n",
        _table(Recipe),
    ]
    for name, field in Recipe.model_fields.items():
        section = AugmentStep if name == "augment" else field.annotation
        if isinstance(section, type) and issubclass(section, Section):
            parts += [f"\n## {name}\n", f"{section.__doc__}\n", _table(section)]
    parts.append(
        "\nThe other keys of an augmentation are its parameters; docs/augmentation.md has them."
    )
    return "\n".join(parts) + "\n"


def _explained_lines(section: Section, indent: str) -> list[str]:
    lines = []
    plain = section.model_dump(mode="json")
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, Section):
            comment = (type(value).__doc__ or "").strip()
            lines += ["", f"{indent}# {comment}", f"{indent}{name}:"]
            lines += _explained_lines(value, indent + "  ")
            continue
        remark = f"{field.description} [{_kind(field)}]"
        lines += [f"{indent}# {line}" for line in wrap(remark, 96 - len(indent))]
        if name == "augment" and value:
            lines.append(f"{indent}{name}:")
            lines += [f"{indent}  - {_plain(step)}" for step in plain[name]]
        else:
            lines.append(f"{indent}{name}: {_plain(plain[name])}")
    return lines


def _table(section: type[Section]) -> str:
    rows = ["| key | values | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in section.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            continue
        default = "required" if field.is_required() else f"`{_plain(field.default)}`"
        rows.append(f"| `{name}` | {_kind(field)} | {default} | {field.description} |")
    return "\n".join(rows)


def _plain(value: Any) -> str:
    """A default as one writes it in YAML."""
    plain = list(value) if isinstance(value, tuple) else value
    text = yaml.safe_dump(plain, default_flow_style=True, sort_keys=False, width=10**6)
    return text.removesuffix("...\n").strip()


_BOUNDS = {"gt": "> {}", "ge": ">= {}", "lt": "< {}", "le": "<= {}"}


def _kind(field: FieldInfo) -> str:
    """What a key takes, in words, with its bounds."""
    bounds = [
        words.format(getattr(limit, bound))
        for limit in field.metadata
        for bound, words in _BOUNDS.items()
        if hasattr(limit, bound)
    ]
    return ", ".join([_type_words(field.annotation), *bounds])


def _type_words(annotation: Any) -> str:
    plain = {
        int: "whole number",
        float: "number",
        bool: "true or false",
        str: "text",
        NoneType: "null",
        tuple[int, int]: "two whole numbers",
        tuple[float, float]: "two numbers",
        tuple[float, float, float]: "three numbers",
        tuple[str, ...]: "list of texts",
        tuple[PositiveInt, ...]: "list of whole numbers above 0",
        dict[str, float]: "mapping of names to numbers",
        dict[str, Multipliers]: "mapping of patterns to multipliers",
        tuple[AugmentStep, ...]: "list",
    }
    if annotation in plain:
        return plain[annotation]
    if get_origin(annotation) is Literal:
        return ", ".join(str(choice) for choice in get_args(annotation))
    if get_origin(annotation) in (Union, UnionType):
        return " or ".join(_type_words(part) for part in get_args(annotation))
    raise TypeError(f"no words for the type {annotation}")


def _apply_override(tree: dict[str, Any], override: str) -> None:
    key, separator, value = override.partition("=")
    if not separator or not key:
        raise RecipeError(f"--set {override}: expected key=value, for example training.epochs=5")
    *parents, last = key.split(".")
    node = tree
    for parent in parents:
        node = node.setdefault(parent, {})
        if not isinstance(node, dict):
            raise RecipeError(f"--set {override}: {parent} is not a section")
    try:
        node[last] = yaml.load(value, _Yaml)
    except yaml.YAMLError:
        raise RecipeError(f"--set {override}: {value!r} is not valid YAML") from None


def _describe(problem: Any, kind: type[Section]) -> str:
    """One line for one pydantic problem, with the nearest known name where that helps."""
    location = [part for part in problem["loc"]]
    where = ".".join(str(part) for part in location)
    if problem["type"] == "extra_forbidden":
        known = _known_keys(location[:-1], kind)
        return f"  {where}: unknown key; {nearest(str(location[-1]), known)}"
    if problem["type"] == "literal_error":
        known = [
            word.strip(" '") for word in problem["ctx"]["expected"].replace(" or ", ",").split(",")
        ]
        return (
            f"  {where}: {problem['input']!r} is unknown; {nearest(str(problem['input']), known)}"
        )
    if problem["type"] == "missing":
        return f"  {where}: missing; every {kind.__name__.lower()} needs it"
    return f"  {where}: {problem['msg'].removeprefix('Value error, ')}; found {problem['input']!r}"


def _known_keys(location: Sequence[str | int], kind: type[Section]) -> list[str]:
    section: Any = kind
    parts = iter(location)
    for part in parts:
        if isinstance(part, int):
            continue
        annotation = section.model_fields[part].annotation
        if get_origin(annotation) is dict:
            next(parts, None)  # the user's own key
            section = get_args(annotation)[1]
        else:
            section = annotation if isinstance(annotation, type) else get_args(annotation)[0]
    return list(section.model_fields)


def nearest(found: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(found, known, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    return f"{hint}known: {', '.join(known)}"
