"""Reading images: the intensities of the file, or one message that says why not."""

from __future__ import annotations

import contextlib

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from tfrecords_tools.errors import ImageError
from tfrecords_tools.images import examine, pixel_hash, read_image, read_stack

GREY = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30) * 100
GREY8 = (GREY >> 8).astype(np.uint8)
COLOUR = np.dstack([GREY8, GREY8.T.reshape(20, 30), 255 - GREY8])


def _refused(path) -> str:
    with pytest.raises(ImageError) as told:
        read_image(path)
    assert str(path) in str(told.value)
    assert "\n" not in str(told.value)
    return str(told.value)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("pixels", [GREY, GREY8, COLOUR], ids=["grey16", "grey8", "colour8"])
def test_the_intensities_of_the_file_are_kept(tmp_path, suffix, pixels):
    path = tmp_path / f"a{suffix}"
    if suffix == ".png":
        Image.fromarray(pixels).save(path)
    else:
        tifffile.imwrite(path, pixels)
    image = read_image(path)
    assert image.dtype == pixels.dtype
    np.testing.assert_array_equal(image.squeeze(), pixels)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    pixels=st.sampled_from(["uint8", "uint16", "float32"]).flatmap(
        lambda dtype: hnp.arrays(
            dtype,
            st.tuples(*(st.integers(2, 9),) * 2),
            elements={"allow_nan": False, "allow_infinity": False} if dtype == "float32" else None,
        )
    ),
    compression=st.sampled_from([None, "lzw", "zlib", "packbits"]),
    byteorder=st.sampled_from("<>"),
)
def test_any_grey_tiff_is_read_as_written(tmp_path, pixels, compression, byteorder):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, compression=compression, byteorder=byteorder)
    image = read_image(path)
    assert image.dtype == pixels.dtype
    assert image.dtype.isnative
    np.testing.assert_array_equal(image[..., 0], pixels)


def test_sixteen_bit_colour_png_keeps_its_depth(tmp_path):
    pixels = np.dstack([GREY, GREY + 1, GREY + 2])
    path = tmp_path / "a.png"
    path.write_bytes(imagecodecs.png_encode(pixels))
    np.testing.assert_array_equal(read_image(path), pixels)


def test_palettes_are_expanded_and_grey_ones_give_one_channel(tmp_path):
    flat = Image.fromarray(COLOUR).quantize(8)
    flat.save(tmp_path / "colour.png")
    np.testing.assert_array_equal(read_image(tmp_path / "colour.png"), flat.convert("RGB"))
    grey = Image.fromarray(GREY8).convert("P")
    grey.putpalette([value for level in range(256) for value in (level,) * 3])
    grey.save(tmp_path / "grey.png")
    np.testing.assert_array_equal(read_image(tmp_path / "grey.png")[..., 0], GREY8)


def test_one_bit_images_become_0_and_255(tmp_path):
    mask = GREY8 > 100
    Image.fromarray(mask).save(tmp_path / "a.png")
    tifffile.imwrite(tmp_path / "a.tif", mask, photometric="minisblack")
    for name in ("a.png", "a.tif"):
        np.testing.assert_array_equal(read_image(tmp_path / name)[..., 0], mask * np.uint8(255))


@pytest.mark.parametrize("pixels", [GREY, GREY8])
def test_white_is_zero_is_turned_round(tmp_path, pixels):
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="miniswhite")
    expected = np.iinfo(pixels.dtype).max - pixels
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[..., 0], expected)


def test_an_opaque_alpha_channel_is_dropped_and_another_is_refused(tmp_path):
    opaque = np.dstack([COLOUR, np.full_like(GREY8, 255)])
    clear = np.dstack([COLOUR, GREY8])
    for suffix in ("png", "tif"):
        Image.fromarray(opaque).save(tmp_path / f"opaque.{suffix}")
        Image.fromarray(clear).save(tmp_path / f"clear.{suffix}")
        np.testing.assert_array_equal(read_image(tmp_path / f"opaque.{suffix}"), COLOUR)
        assert "transparent" in _refused(tmp_path / f"clear.{suffix}")


def test_a_transparent_colour_in_a_png_is_refused(tmp_path):
    Image.fromarray(GREY8).save(tmp_path / "a.png", transparency=int(GREY8[3, 3]))
    assert "transparent" in _refused(tmp_path / "a.png")


def test_tiff_channels_end_up_last(tmp_path):
    planes = np.stack([GREY, GREY + 1, GREY + 2, GREY + 3, GREY + 4])
    tifffile.imwrite(tmp_path / "ome.ome.tif", planes, metadata={"axes": "CYX"})
    tifffile.imwrite(tmp_path / "imagej.tif", planes, imagej=True, metadata={"axes": "CYX"})
    tifffile.imwrite(tmp_path / "five.tif", planes[None], ome=True, metadata={"axes": "TCYX"})
    tifffile.imwrite(tmp_path / "planar.tif", planes[:3], photometric="rgb", planarconfig=2)
    for name, count in (("ome.ome", 5), ("imagej", 5), ("five", 5), ("planar", 3)):
        image = read_image(tmp_path / f"{name}.tif")
        np.testing.assert_array_equal(image, np.moveaxis(planes[:count], 0, -1))


def test_two_plain_channels_of_a_tiff_are_not_taken_for_alpha(tmp_path):
    pixels = np.dstack([GREY, GREY + 7])
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="minisblack", planarconfig="contig")
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), pixels)


def test_a_stub_second_page_is_ignored(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(GREY)
        file.write(np.zeros((1, 1), np.uint16))
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif")[..., 0], GREY)


def test_stacks_and_several_images_are_refused(tmp_path):
    tifffile.imwrite(
        tmp_path / "z.tif", np.stack([GREY] * 3), imagej=True, metadata={"axes": "ZYX"}
    )
    assert "a stack of shape (3, 20, 30) (axes ZYX)" in _refused(tmp_path / "z.tif")
    with tifffile.TiffWriter(tmp_path / "two.tif") as file:
        file.write(GREY)
        file.write(GREY[:10])
    assert "holds 2 images of shapes (20, 30), (10, 30)" in _refused(tmp_path / "two.tif")
    frames = [Image.fromarray(GREY8), Image.fromarray(GREY8.T)]
    frames[0].save(tmp_path / "film.png", save_all=True, append_images=frames[1:])
    assert "holds 2 frames" in _refused(tmp_path / "film.png")


def test_an_empty_file_is_named(tmp_path):
    (tmp_path / "a.png").touch()
    assert "the file is empty (0 bytes)" in _refused(tmp_path / "a.png")


def test_a_missing_file_is_named(tmp_path):
    assert "No such file" in _refused(tmp_path / "gone.tif")


def test_a_jpeg_named_png_is_refused_with_the_right_name(tmp_path):
    Image.fromarray(GREY8).save(tmp_path / "a.jpg")
    (tmp_path / "a.jpg").rename(tmp_path / "a.png")
    message = _refused(tmp_path / "a.png")
    assert "named .png but the content is JPEG, expected PNG; rename it to .jpg" in message


def test_text_named_tif_is_refused(tmp_path):
    (tmp_path / "a.tif").write_text("well,label\nB03,dead\n")
    assert "not a TIFF file" in _refused(tmp_path / "a.tif")


def test_an_unknown_suffix_is_refused(tmp_path):
    (tmp_path / "a.webp").write_bytes(b"RIFF")
    assert "unknown image suffix '.webp'" in _refused(tmp_path / "a.webp")


def _encoded(tmp_path, kind: str) -> bytes:
    path = tmp_path / f"whole.{kind.split('-')[0]}"
    noise = np.random.default_rng(0).integers(0, 255, (40, 50), dtype=np.uint8)
    if kind.startswith("tif"):
        tifffile.imwrite(path, noise, compression=kind.split("-")[1], rowsperstrip=8)
    else:
        Image.fromarray(noise).save(path)
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "tif-none", "tif-lzw", "tif-jpeg"])
def test_a_file_cut_before_its_last_pixel_is_refused(tmp_path, kind):
    whole = _encoded(tmp_path, kind)
    path = tmp_path / f"cut.{kind.split('-')[0]}"
    after_the_pixels = 16  # PNG's end mark, BMP's padding
    for length in range(1, len(whole) - after_the_pixels, max(1, len(whole) // 40)):
        path.write_bytes(whole[:length])
        _refused(path)


@pytest.mark.parametrize("kind", ["png", "jpg", "bmp", "tif-none", "tif-lzw", "tif-jpeg"])
def test_a_file_cut_at_its_very_end_never_gives_other_pixels(tmp_path, kind):
    whole = _encoded(tmp_path, kind)
    suffix = kind.split("-")[0]
    expected = read_image(tmp_path / f"whole.{suffix}")
    for missing in range(1, 17):
        (tmp_path / f"cut.{suffix}").write_bytes(whole[:-missing])
        with contextlib.suppress(ImageError):
            np.testing.assert_array_equal(read_image(tmp_path / f"cut.{suffix}"), expected)


def test_a_changed_byte_in_a_png_is_noticed(tmp_path):
    whole = _encoded(tmp_path, "png")
    for place in range(60, len(whole) - 12, 97):
        changed = bytearray(whole)
        changed[place] ^= 4
        (tmp_path / "a.png").write_bytes(changed)
        _refused(tmp_path / "a.png")


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_counted(tmp_path, bad):
    pixels = GREY.astype(np.float32)
    pixels[2:4, 5] = bad
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    assert "2 of 600 values are not finite" in _refused(tmp_path / "a.tif")


@pytest.mark.parametrize("dtype", ["float64", "int16", "uint32"])
def test_another_depth_is_refused(tmp_path, dtype):
    tifffile.imwrite(tmp_path / "a.tif", GREY.astype(dtype))
    message = _refused(tmp_path / "a.tif")
    assert f"{dtype} pixels, expected uint8, uint16 or float32" in message


def test_channel_files_are_joined_in_the_given_order(tmp_path):
    paths = [tmp_path / f"{name}.tif" for name in ("b", "a", "c")]
    for number, path in enumerate(paths):
        tifffile.imwrite(path, GREY + number)
    np.testing.assert_array_equal(read_stack(paths), np.dstack([GREY, GREY + 1, GREY + 2]))
    np.testing.assert_array_equal(read_stack(paths[1:2])[..., 0], GREY + 1)


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (GREY.astype(np.float32), "20 x 30 px float32, but .*a.tif, .* is 20 x 30 px uint16"),
        (GREY[:10], "10 x 30 px uint16, but"),
        (COLOUR.astype(np.uint16), "holds 3 channels, expected 1"),
    ],
)
def test_channel_files_that_differ_are_refused(tmp_path, other, said):
    tifffile.imwrite(tmp_path / "a.tif", GREY)
    tifffile.imwrite(tmp_path / "b.tif", other)
    with pytest.raises(ImageError, match=said):
        read_stack([tmp_path / "a.tif", tmp_path / "b.tif"])


def test_facts_are_those_of_the_pixels(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY)
    tifffile.imwrite(tmp_path / "b.tif", GREY + 3, compression="zlib")
    facts = examine([tmp_path / "a.tif", tmp_path / "b.tif"])
    assert (facts.height_px, facts.width_px, facts.channels) == (20, 30, 2)
    assert facts.dtype == "uint16"
    assert facts.low == (0.0, 3.0)
    assert facts.high == (float(GREY.max()), float(GREY.max() + 3))


def test_the_hash_follows_the_pixels_and_not_the_file(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", GREY, compression="lzw", byteorder=">")
    Image.fromarray(GREY).save(tmp_path / "b.png")
    assert examine([tmp_path / "a.tif"]).sha256 == examine([tmp_path / "b.png"]).sha256


def test_images_that_differ_have_different_hashes():
    image = GREY[..., None]
    changed = image.copy()
    changed[0, 0, 0] += 1
    others = [changed, image.reshape(30, 20, 1), image.astype(np.float32), np.dstack([GREY, GREY])]
    assert len({pixel_hash(other) for other in (image, *others)}) == 1 + len(others)


def test_real_microscope_files_are_read(real_data):
    phase = read_image(
        real_data / "hc01501_phase_timelapse/B2/field_1/HC01501_P_B2_1_00d01h30m.tif"
    )
    assert phase.shape == (1040, 1408, 1)
    five = read_image(real_data / "microscope_formats/cellprofiler_readers/5channel.tif")
    assert five.shape == (64, 64, 5)
    assert read_image(real_data / "celldeath_u2os/images/U2_CPT2_1H_RGB_0046_N3.png").shape == (
        960,
        1280,
        1,
    )
