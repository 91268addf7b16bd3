"""A whole movie mapped: what is written, what is kept, what is told."""

from __future__ import annotations

import json
import os
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from finished_run import make_dataset, make_run
from PIL import Image
from scipy.ndimage import gaussian_filter

from deadlib.acquisition import Acquisition
from deadlib.errors import InputError
from deadlib.heatmaps import lapse as lapse_module
from deadlib.heatmaps.heatmap import heatmap
from deadlib.heatmaps.lapse import Lapse, MapSettings
from deadlib.heatmaps.onset import Rule
from deadlib.runs import DATASET, Run, save_network, snapshot_path

SHAPE = (60, 72)
PATTERN = "{position}_t{time_index}.tif"
SETTINGS = MapSettings(mode="exact", stride_px=8, target="dead", video="none", rule=Rule(0.3, 2))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("grey")
    return make_run(folder / "run", make_dataset(folder, count=4), {"fit": "crop"})


def write_movie(folder: Path, frames: int = 4, names: tuple[str, ...] = ("A", "B")) -> Path:
    """Frames with more and more of the bright spots that make an image dead."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    for name in names:
        for time in range(frames):
            image = gaussian_filter(generator.random(SHAPE), 1)
            for _ in range(3 * time):
                top, left = (generator.integers(0, side - 5) for side in SHAPE)
                image[top : top + 5, left : left + 5] += 0.5
            pixels = (image.clip(0, 1.6) / 1.7 * 65535).astype(np.uint16)
            tifffile.imwrite(folder / f"{name}_t{time}.tif", pixels)
    return folder


def mapped(run: Run, movie: Path, out: Path, **options: Any) -> Lapse:
    settings = options.pop("settings", SETTINGS)
    options = {"reading": {"pattern": PATTERN}, "interval_hours": 0.5, **options}
    return heatmap(run, movie, out, settings, **options)


def changed_run(run: Run, folder: Path, **facts: Any) -> Run:
    """The same run, of a dataset of which more is known."""
    folder.mkdir()
    for path in run.folder.iterdir():
        os.symlink(path, folder / path.name)
    (folder / DATASET).unlink()
    (folder / DATASET).write_text(json.dumps({**run.dataset, **facts}))
    return Run.open(folder)


def test_everything_is_written(run: Run, tmp_path: Path) -> None:
    movie = write_movie(tmp_path / "movie")
    settings = replace(SETTINGS, threshold=0.25, video="gif")
    steps: list[tuple[str, int, int]] = []

    def progress(stage: str, done: int, total: int) -> None:
        steps.append((stage, done, total))

    mapped(run, movie, tmp_path / "out", settings=settings, progress=progress)
    assert [step for step in steps if step[0] == "mapping"][-1] == ("mapping", 8, 8)
    out = tmp_path / "out"
    curve = pd.read_csv(out / "curve.csv")
    assert list(curve["position"]) == ["A"] * 4 + ["B"] * 4
    assert list(curve["time_hours"][:4]) == [0, 0.5, 1, 1.5]
    known = curve.dropna(subset=["low"])
    assert len(known) >= 6
    assert (known["low"] <= known["sick_area"]).all()
    assert (known["sick_area"] <= known["high"]).all()
    onset = pd.read_csv(out / "onset.csv")
    assert list(onset["position"]) == ["A", "B"]
    for name in ("A", "B"):
        folder = out / "positions" / name
        maps = tifffile.imread(folder / "probabilities.ome.tif")
        assert maps.shape == (4, 2, *SHAPE)
        place = run.classes.index("dead")
        own = curve[curve["position"] == name]
        assert np.allclose((maps[:, place] > 63).mean(axis=(1, 2)), own["sick_area"], atol=0.02)
        assert np.allclose(
            maps[:, place].mean(axis=(1, 2)) / 255, own["mean_probability"], atol=0.01
        )
        assert (folder / "overlay.gif").stat().st_size > 1000
        assert pd.read_csv(folder / "curve.csv")["sick_area"].notna().all()
    page = (out / "report.html").read_text()
    assert "not measured: the maps are exact" in page
    assert "positions/A/still_000.jpg" in page
    assert (out / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert not list(out.rglob(".*")), "nothing half-written is left"


def test_the_dense_mode_says_how_far_it_is_from_the_exact_one(run: Run, tmp_path: Path) -> None:
    movie = write_movie(tmp_path / "movie", frames=1, names=("A",))
    told: list[str] = []
    settings = replace(SETTINGS, mode="dense", resolution="grid")
    lapse = mapped(run, movie, tmp_path / "dense", settings=settings, warn=told.append)
    mapped(run, movie, tmp_path / "exact", settings=replace(settings, mode="exact"))
    dense, exact = (
        np.squeeze(tifffile.imread(tmp_path / mode / "positions/A/probabilities.ome.tif"))
        for mode in ("dense", "exact")
    )
    assert lapse.difference is not None
    # all 48 windows of this small frame are compared
    assert lapse.difference.mean == pytest.approx(np.abs(dense - exact).mean(), abs=1e-5)
    assert any("prefer --mode exact" in sentence for sentence in told)
    page = (tmp_path / "dense/report.html").read_text()
    assert "48 windows drawn at random from the middle frames differ by" in page


def test_the_exact_mode_says_what_the_network_says_of_each_window(run: Run, tmp_path: Path) -> None:
    movie = write_movie(tmp_path / "movie", frames=1, names=("A",))
    settings = replace(SETTINGS, mode="exact", resolution="grid")
    lapse = mapped(run, movie, tmp_path / "out", settings=settings)
    maps = tifffile.imread(tmp_path / "out/positions/A/probabilities.ome.tif")
    frame = tifffile.imread(movie / "A_t0.tif").astype(np.float64)
    window = frame[8:24, 16:32]
    network = run.network()
    seen = ((window - window.mean()) / window.std())[None, ..., None].astype(np.float32)
    logits = np.asarray(network(seen))[0].astype(float)
    expected = np.exp(logits) / np.exp(logits).sum()
    assert np.allclose(np.squeeze(maps)[:, 1, 2], expected, atol=1e-3)
    assert lapse.difference is None


def test_finished_positions_are_kept(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    movie, out = write_movie(tmp_path / "movie"), tmp_path / "out"
    original = lapse_module._mapped

    def stopped(job: Any, position: Any, *rest: Any) -> Any:
        if position.name == "B":
            raise KeyboardInterrupt
        return original(job, position, *rest)

    monkeypatch.setattr(lapse_module, "_mapped", stopped)
    with pytest.raises(KeyboardInterrupt):
        mapped(run, movie, out)
    assert [path.name for path in (out / "positions").iterdir()] == ["A"]
    maps = out / "positions/A/probabilities.ome.tif"
    first = maps.stat().st_mtime_ns
    monkeypatch.undo()
    mapped(run, movie, out)
    assert maps.stat().st_mtime_ns == first
    assert (out / "positions/B/probabilities.ome.tif").is_file()
    mapped(run, movie, out, settings=replace(SETTINGS, threshold=0.6))
    assert maps.stat().st_mtime_ns != first, "other settings give other files"
    second = maps.stat().st_mtime_ns
    pixels = tifffile.imread(movie / "A_t0.tif") + 1
    tifffile.imwrite(movie / "A_t0.tif", pixels)
    mapped(run, movie, out, settings=replace(SETTINGS, threshold=0.6))
    assert maps.stat().st_mtime_ns != second, "another frame gives other files"


def test_a_snapshot_is_mapped_by_its_own_network(run: Run, tmp_path: Path) -> None:
    movie, out = write_movie(tmp_path / "movie", frames=1, names=("A",)), tmp_path / "out"
    known = changed_run(run, tmp_path / "run")
    network = known.network()
    network.set_weights([0 * weight for weight in network.get_weights()])
    save_network(network, snapshot_path(known.folder, 5))
    settings = replace(SETTINGS, resolution="grid")
    mapped(known, movie, out, settings=settings)
    mapped(Run.open(known.folder, snapshot=5), movie, out, settings=settings)
    maps = tifffile.imread(out / "positions/A/probabilities.ome.tif")
    assert np.allclose(maps, 0.5), "a network of zeros cannot tell two classes apart"


def test_a_gap_stays_a_gap(run: Run, tmp_path: Path) -> None:
    movie = write_movie(tmp_path / "movie")
    (movie / "A_t2.tif").unlink()
    (movie / "B_t3.tif").unlink()
    told: list[str] = []
    settings = replace(SETTINGS, video="gif")
    mapped(run, movie, tmp_path / "out", settings=settings, warn=told.append)
    curve = pd.read_csv(tmp_path / "out/curve.csv")
    for name in ("A", "B"):
        with Image.open(tmp_path / "out/positions" / name / "overlay.gif") as video:
            assert video.n_frames == 4, "a card stands for what is missing, also at the end"
    curve = curve[curve["position"] == "A"]
    assert list(curve["sick_area"].isna()) == [False, False, True, False]
    assert list(curve["marks"].fillna("")) == ["", "", "missing", ""]
    assert list(curve["frame"].dropna()) == [0, 1, 2]
    assert any("1 of 4 frames are missing" in sentence for sentence in told)
    assert "1 of 4 frames are missing" in (tmp_path / "out/report.html").read_text()


def test_a_bad_frame_stops_the_work_before_it_begins(run: Run, tmp_path: Path) -> None:
    movie = write_movie(tmp_path / "movie", names=("A",))
    (movie / "A_t1.tif").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"A_t1\.tif.*--on-bad-frame skip"):
        mapped(run, movie, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    told: list[str] = []
    settings = replace(SETTINGS, skip_bad=True)
    mapped(run, movie, tmp_path / "out", settings=settings, warn=told.append)
    curve = pd.read_csv(tmp_path / "out/curve.csv")
    assert list(curve["marks"].fillna("")) == ["", "unusable", "", ""]
    assert any(sentence.startswith("left out: position A, frame 1 (0.5 h)") for sentence in told)


def test_maps_are_not_mixed_with_frames_or_files_of_others(run: Run, tmp_path: Path) -> None:
    movie = write_movie(tmp_path / "movie", frames=1, names=("A",))
    with pytest.raises(InputError, match="lies in the movie"):
        mapped(run, movie, movie / "maps")
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("mine")
    with pytest.raises(InputError, match="did not write"):
        mapped(run, movie, tmp_path / "thesis")
    assert {path.name for path in movie.iterdir()} == {"A_t0.tif"}


def test_doubtful_frames_are_marked(run: Run, tmp_path: Path) -> None:
    movie = write_movie(tmp_path / "movie", names=("A",))
    pixels = tifffile.imread(movie / "A_t1.tif")
    pixels[:20] = 65535
    tifffile.imwrite(movie / "A_t1.tif", pixels)
    noise = np.random.default_rng(0).normal(20000, 300, SHAPE).astype(np.uint16)
    tifffile.imwrite(movie / "A_t2.tif", noise)
    told: list[str] = []
    mapped(run, movie, tmp_path / "out", warn=told.append)
    marks = list(pd.read_csv(tmp_path / "out/curve.csv")["marks"].fillna(""))
    assert (marks[0], marks[1], marks[2]) == ("", "saturated", "empty")
    assert any("at the end of the camera's scale" in sentence for sentence in told)
    assert any("nearly no structure" in sentence for sentence in told)


def test_a_window_larger_than_the_frame_is_refused(run: Run, tmp_path: Path) -> None:
    movie = tmp_path / "movie"
    movie.mkdir()
    tifffile.imwrite(movie / "A_t0.tif", np.arange(150, dtype=np.uint16).reshape(10, 15))
    with pytest.raises(InputError, match="windows of 16 x 16 px, but the frame has 10 x 15 px"):
        mapped(run, movie, tmp_path / "out")


def test_frames_of_other_channels_are_refused(run: Run, tmp_path: Path) -> None:
    movie = tmp_path / "movie"
    movie.mkdir()
    colours = np.random.default_rng(0).integers(0, 255, (*SHAPE, 3)).astype(np.uint8)
    tifffile.imwrite(movie / "A_t0.tif", colours, photometric="rgb")
    with pytest.raises(InputError, match=r"frames have 3 channels, but the run .* takes 1"):
        mapped(run, movie, tmp_path / "out")


def test_a_movie_that_is_red_all_over_is_told(run: Run, tmp_path: Path) -> None:
    movie = write_movie(tmp_path / "movie", frames=2, names=("A",))
    settings = replace(SETTINGS, threshold=1e-6, resolution="grid")
    lapse = mapped(run, movie, tmp_path / "out", settings=settings)
    assert any(note.startswith("A: nearly the whole frame is called dead") for note in lapse.notes)
    lapse = mapped(run, movie, tmp_path / "out", settings=replace(settings, threshold=0.5))
    assert not any("nearly the whole frame" in note for note in lapse.notes)


def test_a_class_that_is_not_known_is_refused(run: Run, tmp_path: Path) -> None:
    movie = write_movie(tmp_path / "movie", frames=1)
    with pytest.raises(InputError, match="--target drunk: the run does not know this class"):
        mapped(run, movie, tmp_path / "out", settings=replace(SETTINGS, target="drunk"))


def test_another_pixel_size_is_told_and_mended_where_asked(run: Run, tmp_path: Path) -> None:
    movie = write_movie(tmp_path / "movie", frames=1, names=("A",))
    known = changed_run(run, tmp_path / "known", pixel_size_um=0.5)
    told: list[str] = []
    grid = replace(SETTINGS, resolution="grid")
    coarse = {"settings": grid, "acquisition": Acquisition(pixel_size_um=1.0)}
    mapped(known, movie, tmp_path / "told", warn=told.append, **coarse)
    assert any("resample them with --rescale" in sentence for sentence in told)
    finer = Acquisition(pixel_size_um=1.0, rescale=True)
    lapse = mapped(known, movie, tmp_path / "out", settings=grid, acquisition=finer)
    assert lapse.scale == 2
    assert lapse.positions[0].window_px == (8, 8), "16 px of the resampled frame"
    with tifffile.TiffFile(tmp_path / "out/positions/A/probabilities.ome.tif") as file:
        # (2 x 60 - 16) / 8 + 1 windows fit into the resampled frame
        assert file.series[0].shape[-2:] == (14, 17)
        assert 'PhysicalSizeX="4.0"' in (file.ome_metadata or "")
    mapped(known, movie, tmp_path / "full", acquisition=finer)
    maps = tifffile.imread(tmp_path / "full/positions/A/probabilities.ome.tif")
    assert np.squeeze(maps).shape == (2, *SHAPE), "pixels of the frame as it was"
    with pytest.raises(InputError, match="nothing says how large a pixel is"):
        mapped(known, movie, tmp_path / "out", acquisition=Acquisition(rescale=True))


def test_positions_are_compared_by_dose_and_with_the_truth(run: Run, tmp_path: Path) -> None:
    names = ("A", "B", "C", "D")
    movie = write_movie(tmp_path / "movie", frames=3, names=names)
    rows = [
        {
            "path": f"{name}_t{time}.tif",
            "position": name,
            "well": "B02" if name in "AB" else f"C0{name}",
            "time_index": time,
            "time_hours": 2 * time,
            "light_dose_s": 0 if name in "AB" else 60,
        }
        for name in names
        for time in range(3)
    ]
    pd.DataFrame(rows).to_csv(movie / "images.csv", index=False)
    (movie / "truth").mkdir()
    out = tmp_path / "out"
    options: dict[str, Any] = {"reading": {}, "interval_hours": None}
    mapped(run, movie, out, **options)
    assert "By light dose (s)" in (out / "report.html").read_text(encoding="utf-8")
    groups = pd.read_csv(out / "groups.csv")
    assert list(groups["units"]) == [1] * 3 + [2] * 3, "positions of one well count once"
    curve = pd.read_csv(out / "curve.csv")
    healthy = curve[curve["light_dose_s"] == 0].groupby("time_index")["sick_area"].mean()
    assert np.allclose(groups["sick_area"][:3], healthy, atol=1e-5)
    truth = curve[["position", "time_index", "sick_area"]].assign(path="x")
    truth["sick_area"] = 0.5 * truth["sick_area"] + 0.1
    truth.to_csv(movie / "truth" / "area.csv", index=False)
    mapped(run, movie, out, **options)
    found = json.loads((out / "settings.json").read_text())["truth"]
    assert found["frames"] == 12
    assert found["correlation"] == pytest.approx(1, abs=1e-4)
    bias = (curve["sick_area"] - truth["sick_area"]).mean()
    assert found["mean_difference"] == pytest.approx(bias, abs=1e-5)
    assert "Against the truth" in (out / "report.html").read_text()
    maps = out / "positions/C/probabilities.ome.tif"
    before = maps.stat().st_mtime_ns
    corrected = [{**row, "light_dose_s": row["light_dose_s"] // 2} for row in rows]
    pd.DataFrame(corrected).to_csv(movie / "images.csv", index=False)
    mapped(run, movie, out, **options)
    assert set(pd.read_csv(out / "groups.csv")["light_dose_s"]) == {0, 30}
    assert maps.stat().st_mtime_ns == before, "a corrected dose does not change the maps"
    with pytest.raises(InputError, match="--group-by colour: not known of these positions"):
        mapped(run, movie, out, **options, group_by="colour")


def test_only_one_frame_is_in_memory(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    movie = write_movie(tmp_path / "movie", frames=5, names=("A",))
    original = lapse_module.open_frame
    alive: list[Any] = []
    most = 0

    class Seen(np.ndarray):
        pass

    def opened(locators: Any) -> Any:
        nonlocal most
        frame = np.asarray(original(locators)).view(Seen)
        alive.append(weakref.ref(frame))
        most = max(most, sum(one() is not None for one in alive))
        return frame

    monkeypatch.setattr(lapse_module, "open_frame", opened)
    mapped(run, movie, tmp_path / "out")
    assert len(alive) == 5
    assert most <= 2, "the frame, and at most the one before it"
