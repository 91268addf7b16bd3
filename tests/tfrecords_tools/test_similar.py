"""Images that show the same cells are found, told, and kept together when asked for."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from scenes import HEIGHT_PX, WIDTH_PX, field, scene, write_fields

from tfrecords_tools import (
    ConversionSettings,
    LeakError,
    PlanError,
    convert,
    make_plan,
    open_dataset,
    plan_addition,
    write_dataset,
)
from tfrecords_tools.append import addition_settings
from tfrecords_tools.examine import examine_images
from tfrecords_tools.settings import SPLITS
from tfrecords_tools.similar import (
    Similar,
    Sketched,
    find_similar,
    read_sketches,
    sketched,
    structure_hash,
)
from tfrecords_tools.sketch import read_sketch, sketch, sketch_shape
from tfrecords_tools.verify import verify_dataset
from tfrecords_tools.view import View, viewed

GROUND = scene(1)
BY_IMAGE = ConversionSettings(split_by=("source_id",))


def similar_in(images: dict[str, np.ndarray], **columns: list[Any]) -> list[Any]:
    """The pairs found among images of these names, each a group of its own."""
    names = list(images)
    found = {
        name: Sketched(sketch(pixels[..., None]), *pixels.shape) for name, pixels in images.items()
    }
    rows = pd.DataFrame({"source_id": names, "image_sha256": names, **columns})
    return list(find_similar(found, rows, names).pairs)


@settings(max_examples=25, deadline=None)
@given(
    down=st.integers(-HEIGHT_PX // 2, HEIGHT_PX // 2),
    right=st.integers(-WIDTH_PX // 2, WIDTH_PX // 2),
)
def test_a_shift_is_found_to_a_few_pixels(down: int, right: int) -> None:
    top, left = HEIGHT_PX, WIDTH_PX
    fields = {
        "f_1.png": field(GROUND, top, left, 1),
        "f_2.png": field(GROUND, top + down, left + right, 2, gain=0.8),
    }
    (pair,) = similar_in(fields)
    assert abs(pair.down_px - down) <= 3
    assert abs(pair.right_px - right) <= 3
    share = (1 - abs(down) / HEIGHT_PX) * (1 - abs(right) / WIDTH_PX)
    assert pair.overlap == pytest.approx(share, abs=0.03)
    shifted = max(abs(down) / HEIGHT_PX, abs(right) / WIDTH_PX) * 64
    assert pair.kind == "overlap" if shifted > 2 else True
    assert pair.kind == "duplicate" if shifted < 1 else True


def test_a_fifth_of_a_frame_in_common_is_enough() -> None:
    fields = {f"f_{n}.png": field(GROUND, 0, n * (WIDTH_PX - 52), n) for n in range(3)}
    assert [(pair.one, pair.other) for pair in similar_in(fields)] == [
        ("f_0.png", "f_1.png"),
        ("f_1.png", "f_2.png"),
    ]


def test_fields_that_share_nothing_are_no_pair() -> None:
    fields = {f"f_{n}.png": field(scene(100 + n, 240, 300), 0, 0, n) for n in range(12)}
    assert similar_in(fields) == []


def test_dust_and_shading_of_one_camera_are_no_pair() -> None:
    shading = np.linspace(0.6, 1.3, WIDTH_PX) * np.ones((HEIGHT_PX, 1))
    for row, column in np.random.default_rng(0).integers([5, 5], [185, 250], (60, 2)):
        shading[row - 4 : row + 4, column - 4 : column + 4] *= 0.6
    fields = {
        f"f_{n}.png": np.clip(field(scene(200 + n, 240, 300), 0, 0, n) * shading, 0, 255)
        for n in range(6)
    }
    assert similar_in(fields) == []


def test_the_lines_of_a_counting_chamber_are_no_pair() -> None:
    fields = {}
    for number in range(4):
        image = np.full((220, 220), 120.0)
        first = 20 + 9 * number
        image[first : first + 8], image[first + 90 : first + 96] = 30, 200
        fields[f"f_{number}.png"] = image + np.random.default_rng(number).normal(0, 3, image.shape)
    assert similar_in(fields) == []


def test_a_copy_under_another_name_is_found_whatever_its_brightness_and_compression() -> None:
    fields = {f"a/x{n}{n}y.png": field(scene(300 + n, 240, 300), 0, 0, n) for n in range(5)}
    data = io.BytesIO()
    brighter = np.clip(fields["a/x33y.png"] * 1.3 + 12, 0, 255).astype(np.uint8)
    Image.fromarray(brighter).save(data, "JPEG", quality=60)
    fields["elsewhere.png"] = np.asarray(Image.open(data))
    (pair,) = similar_in(fields)
    assert (pair.one, pair.other, pair.kind) == ("a/x33y.png", "elsewhere.png", "duplicate")


def test_hashes_of_different_images_differ_in_about_half_of_their_bits() -> None:
    def bits(seed: int) -> int:
        pixels = field(scene(seed, 240, 300), 0, 0)
        return structure_hash(Sketched(sketch(pixels[..., None]), *pixels.shape))

    hashes = [bits(seed) for seed in range(8)]
    distances = [(a ^ b).bit_count() for n, a in enumerate(hashes) for b in hashes[:n]]
    assert min(distances) > 14
    assert np.mean(distances) == pytest.approx(32, abs=4)


def test_fields_of_one_well_are_neighbours_whatever_they_are_called() -> None:
    fields = {
        "first.png": field(GROUND, 0, 0, 1),
        "second.png": field(GROUND, 0, WIDTH_PX // 2, 2),
    }
    assert similar_in(fields) == []
    assert len(similar_in(fields, well=["B03", "B03"])) == 1
    assert similar_in(fields, well=["B03", "B04"]) == []


def test_frames_of_one_place_are_asked_only_where_the_split_may_part_them() -> None:
    frames = {f"p1_t{n}.png": field(GROUND, 0, 0, n) for n in range(3)}
    place = {"position": ["p1"] * 3, "time_index": [0, 1, 2]}
    assert len(similar_in(frames, **place)) == 3
    found = {name: Sketched(sketch(p[..., None]), *p.shape) for name, p in frames.items()}
    rows = pd.DataFrame({"source_id": list(frames), "image_sha256": list(frames), **place})
    assert find_similar(found, rows, ["p1"] * 3).pairs == ()


def test_images_too_small_for_a_sketch_or_blank_are_left_out() -> None:
    assert sketch(np.zeros((40, 400, 1), np.uint8)) == ""
    assert sketch(np.full((300, 400, 1), 7, np.uint16)) == ""
    assert sketch_shape(220, 47) == (64, 15)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_a_sketch_depends_neither_on_units_nor_on_the_lamp(dtype: type) -> None:
    pixels = field(GROUND, 0, 0).astype(np.float64)[..., None]
    largest = 1.0 if dtype is np.float32 else np.iinfo(dtype).max
    scaled = (pixels / 255 * largest).astype(dtype)
    first, second = (read_sketch(sketch(image), HEIGHT_PX, WIDTH_PX) for image in (pixels, scaled))
    assert first.shape == (64, 64)
    assert np.abs(first - second).max() <= 1
    shaded = pixels + 30 * np.linspace(0, 1, WIDTH_PX)[:, None]
    again = read_sketch(sketch(shaded), HEIGHT_PX, WIDTH_PX)
    assert np.corrcoef(first.ravel(), again.ravel())[0, 1] > 0.98


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two classes of ten fields each, every one overlapping by half with the next of its row."""
    fields = {}
    for label, seed in (("dead", 1), ("living", 2)):
        ground = scene(seed, HEIGHT_PX, 6 * WIDTH_PX)
        for n in range(10):
            fields[f"{label}/f_{n}.png"] = field(ground, 0, n * WIDTH_PX // 2, n)
    return write_fields(tmp_path_factory.mktemp("walk") / "images", fields)


def test_an_alarm_where_pairs_stand_in_two_splits(walk: Path) -> None:
    plan = make_plan(walk, BY_IMAGE)
    found = plan.similar
    assert found["across_splits"] > 0
    splits = dict(zip(plan.examples["source_id"], plan.examples["split"], strict=True))
    for pair in found["pairs"]:
        assert pair["splits"] == sorted({splits[pair["one"]], splits[pair["other"]]})
    (warning,) = [text for text in plan.audit["warnings"] if "show the same cells" in text]
    assert "stand in two splits" in warning
    assert "--join-similar" in warning


def test_joined_pairs_never_stand_in_two_splits(walk: Path) -> None:
    # Each row is one chain, so that its images are one group: nothing is left to split.
    with pytest.raises(PlanError, match="class dead: 1 group"):
        make_plan(walk, ConversionSettings(split_by=("source_id",), join_similar=True))
    settings = ConversionSettings(
        labels="none", split_by=("source_id",), join_similar=True, fractions=(0.5, 0.0, 0.5)
    )
    plan = make_plan(walk, settings)
    assert plan.similar["across_splits"] == 0
    assert plan.examples["group"].nunique() == 2
    assert any("none in two splits" in text for text in plan.split_info["proof"][2:])


def test_the_dataset_tells_and_holds_for_whoever_reads_it_back(walk: Path, tmp_path: Path) -> None:
    dataset = convert(walk, tmp_path / "out", BY_IMAGE)
    told = json.loads((tmp_path / "out" / "deadlib.json").read_text())["similar"]
    assert len(told["pairs"]) >= 18
    assert set(read_sketches(dataset)) == set(dataset.manifest["source_id"])
    assert verify_dataset(tmp_path / "out").damaged == []


def test_nothing_is_looked_for_when_not_asked(walk: Path, tmp_path: Path) -> None:
    settings = ConversionSettings(split_by=("source_id",), find_similar=False)
    dataset = convert(walk, tmp_path / "out", settings)
    assert dataset.info["similar"] is None
    assert not (tmp_path / "out" / "sketches.parquet").exists()
    with pytest.raises(PlanError, match="find_similar"):
        ConversionSettings(find_similar=False, join_similar=True)


def test_the_plan_does_not_depend_on_the_number_of_workers(walk: Path, tmp_path: Path) -> None:
    names = {
        p.relative_to(walk).as_posix(): (p.relative_to(walk).as_posix(),)
        for p in walk.rglob("*.png")
    }
    facts, _ = examine_images(walk, names, sketched=True)
    rows = pd.DataFrame({"source_id": list(names), "image_sha256": list(names)})
    one = find_similar(sketched(facts), rows, list(names), workers=1)
    shuffled = rows.sample(frac=1, random_state=3)
    assert find_similar(sketched(facts), shuffled, list(shuffled["source_id"])) == one


class TestAppending:
    """Half of a walk is converted, the other half comes later."""

    @staticmethod
    def halves(walk: Path, tmp_path: Path) -> Path:
        source = tmp_path / "images"
        for path in sorted(walk.rglob("*.png"))[::2]:
            target = source / path.relative_to(walk)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
        return source

    def test_new_images_are_compared_with_those_that_are_there(
        self, walk: Path, tmp_path: Path
    ) -> None:
        first = convert(self.halves(walk, tmp_path), tmp_path / "out", BY_IMAGE)
        assert first.info["similar"]["pairs"] == []
        plan = plan_addition(first, walk)
        whole = make_plan(walk, BY_IMAGE).similar
        pairs = {(pair["one"], pair["other"]) for pair in plan.similar["pairs"]}
        assert len(pairs) >= 18
        assert pairs == {(pair["one"], pair["other"]) for pair in whole["pairs"]}
        write_dataset(plan, tmp_path / "out")
        again = open_dataset(tmp_path / "out")
        assert len(read_sketches(again)) == 20
        assert len(again.info["similar"]["pairs"]) == len(pairs)
        assert verify_dataset(tmp_path / "out").damaged == []

    def test_with_joining_they_follow_them_or_are_refused(self, walk: Path, tmp_path: Path) -> None:
        settings = ConversionSettings(
            labels="none", split_by=("source_id",), join_similar=True, fractions=(0.4, 0.3, 0.3)
        )
        source = self.halves(walk, tmp_path)
        dataset = convert(source, tmp_path / "out", settings)
        places = dict(zip(dataset.manifest["source_id"], dataset.manifest["split"], strict=True))
        assert set(places.values()) == set(SPLITS)
        # f_9 touches f_8 alone; the others would tie two images of different splits together.
        added = tmp_path / "images" / "dead" / "f_9.png"
        added.write_bytes((walk / "dead" / "f_9.png").read_bytes())
        plan = plan_addition(dataset, source, addition_settings(dataset, {}))
        (row,) = plan.examples[plan.examples["source_id"] == "dead/f_9.png"].to_dict("records")
        assert row["split"] == places["dead/f_8.png"]
        with pytest.raises(LeakError, match="similar to some of"):
            plan_addition(dataset, walk, addition_settings(dataset, {}))


def test_a_view_asks_again_which_pairs_it_parts(walk: Path, tmp_path: Path) -> None:
    dataset = convert(walk, tmp_path / "out", BY_IMAGE)
    seen = viewed(dataset, View(hold_out=("source_id=dead/f_4.png", "source_id=living/f_4.png")))
    splits = dict(zip(seen.manifest["source_id"], seen.manifest["split"], strict=True))
    for pair in seen.info["similar"]["pairs"]:
        assert pair["splits"] == sorted({splits[pair["one"]], splits[pair["other"]]})
    assert seen.info["similar"]["across_splits"] >= 4
    assert any("stand in two splits" in text for text in seen.info["audit"]["warnings"])


def test_the_published_celldeath_fields_overlap(real_data: Path) -> None:
    """41 pairs of the 45 fields, from 9 to 93 % in common, 19 of them looked at; the publication
    says that fields do not overlap."""
    plan = make_plan(
        real_data / "celldeath_u2os" / "images",
        ConversionSettings(labels="pattern", pattern="celldeath", split_by=("source_id",)),
    )
    pairs = {(pair["one"][3:-4], pair["other"][3:-4]): pair for pair in plan.similar["pairs"]}
    assert len(pairs) == 41
    assert {one[-2:] + other[-2:] for one, other in pairs} == {"N1N1", "N3N3"}
    known = pairs["DMSO_1h_RGB_0013_N1", "DMSO_1h_RGB_0014_N1"]
    assert known["overlap"] == pytest.approx(0.84, abs=0.01)
    assert known["correlation"] > 0.95
    assert plan.similar["across_splits"] > 10


def test_real_images_of_other_wells_are_no_pairs(real_data: Path) -> None:
    similar = similar_below(real_data / "sbs_translocation_plate", "Channel1-*.tif")
    assert similar.compared > 100
    assert similar.pairs == ()


def test_frames_of_a_real_lapse_are_the_same_place(real_data: Path) -> None:
    """Half an hour apart, cells have moved little; where names do not say that it is one place, it
    is seen. Where they do (`place`), nobody needs to be told."""
    source = real_data / "hc01501_phase_timelapse"
    similar = similar_below(source, "HC01501_R_*.tif")
    assert {pair.kind for pair in similar.pairs} <= {"duplicate"}
    assert all(max(abs(pair.down_px), abs(pair.right_px)) < 30 for pair in similar.pairs)
    pattern = "HC01501_{mode}_{well}_{field}_{time_hours}.tif"
    plan = make_plan(source, ConversionSettings(labels="none", pattern=pattern, allow_mixed=True))
    assert plan.similar["pairs"] == []


def similar_below(source: Path, names: str) -> Similar:
    paths = [path.relative_to(source).as_posix() for path in source.rglob(names)]
    facts, _ = examine_images(source, {path: (path,) for path in paths}, sketched=True)
    rows = pd.DataFrame({"source_id": paths, "image_sha256": paths})
    return find_similar(sketched(facts), rows, paths)
