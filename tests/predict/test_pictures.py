"""Every kind of picture is opened as it is displayed, or refused in a sentence."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from maskrcnn_benchmark_hml.errors import HMLError
from maskrcnn_benchmark_hml.predict.pictures import RECORD, displayed_size, find_pictures, open_photo, stored_size

RED, BLUE = (200, 10, 10), (10, 10, 200)


def halves(mode="RGB"):
    """Left half red, right half blue."""
    picture = Image.new("RGB", (40, 30), RED)
    picture.paste(BLUE, (20, 0, 40, 30))
    return picture.convert(mode)


def corners(photo):
    """The colours at the left and at the right, as the nearest of red and blue, or the colour."""
    assert photo.mode == "RGB"
    return [photo.getpixel((x, photo.height // 2)) for x in (2, photo.width - 3)]


def close(one, other):
    return all(abs(a - b) < 40 for a, b in zip(one, other))


@pytest.mark.parametrize("mode, ending", [
    ("RGB", "jpg"), ("CMYK", "jpg"), ("YCbCr", "jpg"), ("P", "png"), ("RGBA", "png"), ("P", "gif"), ("RGB", "webp"),
    ("RGB", "bmp"), ("RGB", "tif"), ("LAB", "tif"), ("CMYK", "tif"), ("RGBA", "webp"),
])
def test_colours(mode, ending, tmp_path):
    file = tmp_path / f"a.{ending}"
    halves(mode).save(file)
    photo = open_photo(file)
    left, right = corners(photo.image)
    assert close(left, RED) and close(right, BLUE) and not photo.note
    assert displayed_size(file) == photo.image.size == (40, 30)


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_grayscale(mode, tmp_path):
    Image.new("L", (9, 8), 255).convert(mode).save(tmp_path / "a.png")
    assert corners(open_photo(tmp_path / "a.png").image) == [(255, 255, 255)] * 2


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_are_scaled_and_not_clipped(ending, tmp_path):
    Image.fromarray(np.full((8, 9), 0x8000, np.uint16)).save(tmp_path / f"a.{ending}")
    assert corners(open_photo(tmp_path / f"a.{ending}").image) == [(128, 128, 128)] * 2


def test_thirty_two_bits_are_refused(tmp_path):
    Image.fromarray(np.full((8, 9), 0.5, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(HMLError, match="^the picture [^ ]*a.tif has 32 bits a pixel"):
        open_photo(tmp_path / "a.tif")


def test_transparent_parts_lie_on_white(tmp_path):
    clear = halves("RGBA")
    clear.paste((0, 0, 0, 0), (0, 0, 20, 30))
    clear.save(tmp_path / "a.png")
    assert corners(open_photo(tmp_path / "a.png").image)[0] == (255, 255, 255)
    palette = halves().quantize(4)
    palette.save(tmp_path / "b.png", transparency=palette.getpixel((2, 15)))
    left, right = corners(open_photo(tmp_path / "b.png").image)
    assert left == (255, 255, 255) and close(right, BLUE)


def test_sixteen_bit_gray_with_a_transparent_value(tmp_path):
    Image.fromarray(np.full((8, 9), 0x8000, np.uint16)).save(tmp_path / "a.png", transparency=0x1234)
    assert corners(open_photo(tmp_path / "a.png").image) == [(128, 128, 128)] * 2


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("ending", ["jpg", "png"])
def test_exif_rotation_is_applied(orientation, ending, tmp_path):
    exif = Image.Exif()
    exif[0x0112] = orientation
    file = tmp_path / f"a.{ending}"
    halves().save(file, exif=exif)
    photo = open_photo(file).image
    turned = orientation >= 5
    assert photo.size == displayed_size(file) == ((30, 40) if turned else (40, 30))
    assert stored_size(file) == (40, 30)
    first = photo.getpixel((photo.width // 2, 2) if turned else (2, photo.height // 2))
    # Where the stored left side is displayed: at the left (1, 4), at the right (2, 3), on top (5, 6), below (7, 8).
    assert close(first, BLUE if orientation in (2, 3, 7, 8) else RED)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_damaged_exif_turns_nothing(tmp_path):
    halves().save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\0\0\0\xff garbage")
    assert open_photo(tmp_path / "a.jpg").image.size == (40, 30) == displayed_size(tmp_path / "a.jpg")


@pytest.mark.parametrize("ending", ["gif", "webp", "tif", "png"])
def test_the_first_of_several_pictures_is_used_and_said(ending, tmp_path):
    file = tmp_path / f"a.{ending}"
    halves().save(file, save_all=True, append_images=[Image.new("RGB", (40, 30), c) for c in ("white", "black")])
    photo = open_photo(file)
    assert close(corners(photo.image)[0], RED)
    assert photo.note == f"{file} holds 3 pictures; the first is used"


def test_broken_files_get_a_sentence(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (300, 400, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:20_000])
    (tmp_path / "text.jpg").write_text("this is no picture at all")
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    for name, words in (("cut", "cut short"), ("text", "text"), ("empty", "empty"), ("gone", "exist|link")):
        with pytest.raises(HMLError, match=f"{name}.jpg.*({words})"):
            open_photo(tmp_path / f"{name}.jpg")


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1)])
def test_tiny_and_narrow_pictures_are_opened(size, tmp_path):
    Image.new("RGB", size).save(tmp_path / "a.png")
    assert open_photo(tmp_path / "a.png").image.size == size


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_large_picture_is_opened(tmp_path):
    Image.new("L", (12000, 9000)).save(tmp_path / "a.png")
    assert open_photo(tmp_path / "a.png").image.size == (12000, 9000)


def test_a_picture_beyond_the_limit_of_pixels_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    Image.new("L", (30, 30)).save(tmp_path / "a.png")
    for look in (open_photo, displayed_size):
        with pytest.raises(HMLError, match="a.png has more pixels than PIL reads.*make it smaller"):
            look(tmp_path / "a.png")


def test_folders_are_searched_and_nothing_is_left_out_silently(photos):
    (photos / "UPPER.PNG").write_bytes((photos / "0.jpg").read_bytes())
    (photos / "again").symlink_to(photos)
    (photos / "results").mkdir()
    (photos / "results" / RECORD).write_text("{}")
    (photos / "results" / "drawn.png").write_bytes(b"")
    found = find_pictures([photos])
    assert [picture.within for picture in found.pictures] == ["0.jpg", "1.jpg", "2.jpg", "3.jpg", "4.jpg", "UPPER.PNG",
                                                              "more/0.jpg"]
    assert found.pictures[0].name == str(photos / "0.jpg")
    said = "\n".join(found.left_out)
    assert "notes.txt (its ending" in said and "again (visited" in said and "results (results of hml predict)" in said


def test_a_named_file_counts_whatever_its_ending_and_once(photos):
    os.rename(photos / "1.jpg", photos / "picture")
    found = find_pictures([photos / "picture", photos / "0.jpg", photos, photos / "more" / ".." / "0.jpg"])
    assert [p.within for p in found.pictures] == ["picture", "0.jpg", "2.jpg", "3.jpg", "4.jpg", "more/0.jpg"]


def test_no_picture_and_no_path_are_refused(tmp_path):
    (tmp_path / "a.heic").touch()
    with pytest.raises(HMLError, match=r"has no picture .*left out: .*a.heic"):
        find_pictures([tmp_path])
    with pytest.raises(HMLError, match="there is no picture or folder .*nowhere"):
        find_pictures([tmp_path / "nowhere"])
