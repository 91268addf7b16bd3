from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from deadlib.errors import RecipeError
from deadlib.models.groups import group_patterns
from deadlib.recipe import ModelSection, OptimiserSection, ScheduleSection
from deadlib.training.optimisers import build_optimiser, check_multipliers, shares_of
from deadlib.training.schedules import Constant, build_momentum, build_schedule


def build(rate: float = 0.1, **section: object) -> keras.optimizers.Optimizer:
    return build_optimiser(OptimiserSection.model_validate(section), Constant(rate))


def small_network() -> keras.Model:
    """One convolution, one batch normalisation, one dense layer; every weight is 1."""
    network = keras.Sequential(
        [
            keras.Input((4, 4, 1)),
            keras.layers.Conv2D(2, 3, bias_initializer="ones"),
            keras.layers.BatchNormalization(),
            keras.layers.DepthwiseConv2D(1),
            keras.layers.Flatten(),
            keras.layers.Dense(2),
        ]
    )
    for variable in network.trainable_variables:
        variable.assign(np.ones(variable.shape))
    return network


def one_variable(value: list[float], name: str = "kernel") -> keras.Variable:
    return keras.Variable(np.array(value, np.float32), name=name)


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_only_kernels_decay(name: str) -> None:
    network = small_network()
    variables = network.trainable_variables
    optimiser = build(name=name, weight_decay=0.5, momentum=0.0, nesterov=False)
    optimiser.apply([np.zeros(v.shape, np.float32) for v in variables], variables)
    for variable in variables:
        expected = 0.95 if "kernel" in variable.name else 1.0
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-6, err_msg=variable.path)
    names = {variable.name for variable in variables}
    assert names == {"kernel", "bias", "gamma", "beta"}


def test_adamw_decays_apart_from_the_gradient() -> None:
    plain, decaying = one_variable([2.0, -3.0]), one_variable([2.0, -3.0])
    gradient = np.array([0.5, 1.5], np.float32)
    build(name="adam", weight_decay=0).apply([gradient], [plain])
    build(name="adamw", weight_decay=0.2).apply([gradient], [decaying])
    np.testing.assert_allclose(
        decaying.numpy(), plain.numpy() - 0.1 * 0.2 * np.array([2.0, -3.0]), rtol=1e-5
    )


def test_sgd_follows_caffes_nesterov_with_l2() -> None:
    rate, momentum, decay = 0.1, 0.9, 0.01
    variable = one_variable([1.0, -2.0, 0.5])
    optimiser = build(rate, name="sgd", weight_decay=decay, momentum=momentum, nesterov=True)
    weight, history = variable.numpy().astype(np.float64), np.zeros(3)
    rng = np.random.default_rng(0)
    for _ in range(5):
        gradient = rng.normal(size=3)
        optimiser.apply([gradient.astype(np.float32)], [variable])
        # Caffe's NesterovSolver: v' = mu v + lr (g + wd w); w -= (1 + mu) v' - mu v
        updated = momentum * history + rate * (gradient + decay * weight)
        weight = weight - ((1 + momentum) * updated - momentum * history)
        history = updated
        np.testing.assert_allclose(variable.numpy(), weight, rtol=1e-5)


def deadnet_like_network() -> keras.Model:
    """The kinds of variables that DeadNet has, under the same names."""
    image = keras.Input((4, 4, 1))
    features = keras.layers.Conv2D(2, 3, name="conv1_1")(image)
    features = keras.layers.BatchNormalization(name="conv1_1_norm")(features)
    features = keras.layers.Dense(2, name="fc1")(keras.layers.Flatten()(features))
    return keras.Model(image, features)


@pytest.mark.parametrize("nesterov", [True, False])
def test_caffes_multipliers_follow_its_solver(nesterov: bool) -> None:
    """The reference is Caffe's solver written out: local rate = rate x lr_mult, local decay =
    decay x decay_mult, with the values of the released prototxt."""
    lr_mult = {"conv1_1/bias": 2.0}
    decay_mult = {"conv1_1/bias": 0.0}
    base, momentum, decay = 0.3, 0.9, 0.05
    variables = deadnet_like_network().trainable_variables
    assert len({variable.path for variable in variables}) == 6
    section = OptimiserSection.model_validate(
        {"name": "sgd", "weight_decay": decay, "nesterov": nesterov, "multipliers": "caffe"}
    )
    inverse = ScheduleSection(name="inverse", gamma=0.5, power=0.75)
    optimiser = build_optimiser(section, build_schedule(inverse, base, 5))
    rng = np.random.default_rng(0)
    for variable in variables:
        variable.assign(rng.normal(size=variable.shape))
    weights = [variable.numpy().astype(np.float64) for variable in variables]
    histories = [np.zeros_like(weight) for weight in weights]
    for step in range(5):
        gradients = [rng.normal(size=weight.shape) for weight in weights]
        optimiser.apply([gradient.astype(np.float32) for gradient in gradients], variables)
        rate = base * (1 + 0.5 * step) ** -0.75
        for place, variable in enumerate(variables):
            name = variable.path
            local_rate, local_decay = lr_mult.get(name, 1), decay * decay_mult.get(name, 1)
            gradient = gradients[place] + local_decay * weights[place]
            history = momentum * histories[place] + rate * local_rate * gradient
            moved = (1 + momentum) * history - momentum * histories[place] if nesterov else history
            weights[place], histories[place] = weights[place] - moved, history
            np.testing.assert_allclose(variable.numpy(), weights[place], rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_multipliers_scale_what_they_name_and_nothing_else(name: str) -> None:
    moved = {}
    for factor in (1.0, 0.5, 0.0):
        variables = deadnet_like_network().trainable_variables
        multipliers = {"conv*": {"learning_rate": factor}}
        optimiser = build(0.01, name=name, weight_decay=0.0, multipliers=multipliers)
        before = [variable.numpy() for variable in variables]
        optimiser.apply([np.ones(v.shape, np.float32) for v in variables], variables)
        moved[factor] = {
            variable.path: variable.numpy() - former
            for variable, former in zip(variables, before, strict=True)
        }
    for path, step in moved[1.0].items():
        assert np.abs(step).min() > 0
        for factor in (0.5, 0.0):
            expected = factor * step if path.startswith("conv") else step
            np.testing.assert_allclose(moved[factor][path], expected, rtol=1e-3, atol=1e-7)


def test_the_first_pattern_that_fits_counts() -> None:
    patterns = [("conv*/bias", 2.0, 0.0), ("*/bias", 1.0, None), ("fc1/*", 0.1, 3.0)]
    assert shares_of("conv1_1/bias", patterns) == (2.0, 0.0)
    assert shares_of("fc1/bias", patterns) == (1.0, 0.0)
    assert shares_of("fc1/kernel", patterns) == (0.1, 3.0)
    assert shares_of("conv1_1/kernel", patterns) == (1.0, 1.0)


def test_a_pattern_of_no_variable_is_refused() -> None:
    section = OptimiserSection.model_validate({"multipliers": {"cnv*/bias": {"decay": 0}}})
    with pytest.raises(RecipeError, match=r"cnv\*/bias fits no variable .*conv1_1/kernel"):
        check_multipliers(section, deadnet_like_network().trainable_variables)


def test_clipping_is_by_the_norm_over_all_variables_and_before_decay() -> None:
    first, second = one_variable([0.0]), one_variable([0.0])
    options = {"name": "sgd", "momentum": 0.0, "nesterov": False, "clip_norm": 1.0}
    build(1.0, **options, weight_decay=0).apply(
        [np.array([3.0], np.float32), np.array([4.0], np.float32)], [first, second]
    )
    np.testing.assert_allclose([first.numpy()[0], second.numpy()[0]], [-0.6, -0.8], rtol=1e-6)
    heavy = one_variable([10.0])
    build(1.0, **options, weight_decay=0.5).apply([np.array([3.0], np.float32)], [heavy])
    np.testing.assert_allclose(heavy.numpy(), [10 - 1 - 5], rtol=1e-6)


def test_the_rate_comes_from_the_schedule() -> None:
    optimiser = build(0.25, name="sgd")
    assert float(optimiser.learning_rate) == 0.25


def test_adams_decay_is_part_of_its_gradient() -> None:
    plain, decaying = one_variable([2.0, -3.0]), one_variable([2.0, -3.0])
    gradient = np.array([0.5, 1.5], np.float32)
    build(name="adam", weight_decay=0).apply([gradient + 0.2 * plain.numpy()], [plain])
    build(name="adam", weight_decay=0.2).apply([gradient], [decaying])
    np.testing.assert_allclose(decaying.numpy(), plain.numpy(), rtol=1e-6)


def test_the_caffe_optimiser_survives_saving() -> None:
    optimiser = build(name="sgd", weight_decay=0.25, multipliers="caffe")
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimiser))
    assert again.get_config() == optimiser.get_config()
    assert again.decay == 0.25
    assert again.multipliers[0] == ("*conv*/bias", 2.0, 0.0)


GOLDEN = Path(__file__).parents[1] / "golden" / "one_cycle.npz"


@pytest.mark.parametrize("total_steps", [7, 10, 101])
def test_adamw_with_one_cycle_follows_pytorch_when_everything_decays(total_steps: int) -> None:
    golden = np.load(GOLDEN)
    schedule = ScheduleSection(name="one_cycle", momentum=(0.95, 0.85))
    section = OptimiserSection.model_validate(
        {
            **{"learning_rate": 1e-3, "weight_decay": 0.01, "beta_2": 0.99, "epsilon": 1e-8},
            "multipliers": {"*": {"decay": 1}},
        }
    )
    variable = one_variable(list(golden[f"start_{total_steps}"]), name="bias")
    optimiser = build_optimiser(
        section,
        build_schedule(schedule, section.learning_rate, total_steps),
        momentum=build_momentum(schedule, total_steps),
    )
    for gradient, expected in zip(
        golden[f"gradients_{total_steps}"], golden[f"weights_{total_steps}"], strict=True
    ):
        optimiser.apply([gradient.astype(np.float32)], [variable])
        np.testing.assert_allclose(variable.numpy(), expected, rtol=1e-5, atol=2e-6)


@pytest.mark.parametrize("nesterov", [True, False])
def test_sgds_momentum_follows_the_cycle(nesterov: bool) -> None:
    schedule = ScheduleSection(name="one_cycle", momentum=(0.9, 0.5))
    section = OptimiserSection.model_validate({"name": "sgd", "nesterov": nesterov})
    momentum = build_momentum(schedule, 10)
    assert momentum is not None
    optimiser = build_optimiser(section, Constant(0.1), momentum=momentum)
    variable = one_variable([0.0], name="bias")
    weight = history = 0.0
    for step in range(10):
        optimiser.apply([np.ones(1, np.float32)], [variable])
        share = float(momentum(step))
        history = share * history - 0.1
        weight += share * history - 0.1 if nesterov else history
        np.testing.assert_allclose(variable.numpy(), [weight], rtol=1e-5)


def test_groups_learn_at_rates_in_equal_ratios() -> None:
    names = ("stem_convolution", "stage3_block1_1_convolution", "logits")
    variables = [one_variable([0.0]) for _ in names]
    for variable, name in zip(variables, names, strict=True):
        variable._path = f"{name}/kernel"
    section = OptimiserSection.model_validate(
        {
            **{"name": "sgd", "momentum": 0, "nesterov": False, "weight_decay": 0},
            **{"learning_rate": 1e-3, "lowest_learning_rate": 1e-4},
            "multipliers": {"logits/*": {"learning_rate": 2}},
        }
    )
    groups = group_patterns(ModelSection(name="resnet34"))
    optimiser = build_optimiser(section, Constant(section.learning_rate), groups=groups)
    optimiser.apply([np.ones(1, np.float32)] * 3, variables)
    moved = [-float(variable.numpy()[0]) for variable in variables]
    np.testing.assert_allclose(moved, [1e-4, 3.1623e-4, 2e-3], rtol=1e-4)


def test_a_cycled_optimiser_survives_saving() -> None:
    schedule = ScheduleSection(name="one_cycle", momentum=(0.95, 0.85))
    optimiser = build_optimiser(
        OptimiserSection(beta_1=0.8, lowest_learning_rate=1e-5),
        Constant(0.1),
        momentum=build_momentum(schedule, 10),
        groups=group_patterns(ModelSection()),
    )
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimiser))
    assert again.get_config() == optimiser.get_config()
    assert again.get_config()["beta_1"] == 0.8
    assert again.cycle == [0.95, 0.85, 10]
