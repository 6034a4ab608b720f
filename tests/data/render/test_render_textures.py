"""Textures: they tile, stay in range, and a seed keeps its look; the fast cell search agrees with the plain one."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from realmaster.data.render.assets.noise import cells, fractal
from realmaster.data.render.assets.texture_library import COUNTS, Texture, TextureLibrary, engine_albedo, write_textures
from realmaster.data.render.assets.texture_recipes import RECIPES, make_surface
from realmaster.data.render.draws import Draws


def test_every_kind_has_a_recipe_and_variants() -> None:
    assert COUNTS.keys() == RECIPES.keys()


@pytest.mark.parametrize("kind", RECIPES)
def test_a_surface_is_in_range_and_the_same_for_the_same_seed(kind: str) -> None:
    one, again, other = make_surface(kind, 5, 64), make_surface(kind, 5, 64), make_surface(kind, 6, 64)
    assert one.albedo.shape == (64, 64, 3)
    assert one.height.shape == one.roughness.shape == (64, 64)
    assert one.albedo.min() >= 0.005
    assert one.albedo.max() <= 1
    assert 0.05 <= one.roughness.min() <= one.roughness.max() <= 1
    assert np.isfinite(one.height).all()
    np.testing.assert_array_equal(one.albedo, again.albedo)
    assert np.abs(one.albedo - other.albedo).max() > 0.01


def test_noise_has_no_seam_where_the_tile_repeats() -> None:
    field = fractal(np.random.default_rng(0), 128, 1.4, 2)
    inside = np.abs(np.diff(field, axis=1)).mean()
    across = np.abs(field[:, 0] - field[:, -1]).mean()
    assert across < 1.5 * inside


def test_the_windowed_search_for_cells_agrees_with_searching_every_point() -> None:
    size, count = 48, 30
    found = cells(np.random.default_rng(1), size, count)
    points = np.random.default_rng(1).random((count, 2)) * size
    grid = np.stack(np.meshgrid(np.arange(size), np.arange(size), indexing="ij"), axis=-1)
    offset = np.abs(grid[:, :, None] - points)
    distance = np.linalg.norm(np.minimum(offset, size - offset), axis=-1)
    np.testing.assert_allclose(found.distance, distance.min(-1), atol=1e-12)
    np.testing.assert_array_equal(found.nearest, distance.argmin(-1))


def test_an_engine_texture_is_small_and_has_lost_contrast() -> None:
    checks = (np.indices((512, 512)).sum(0) // 64 % 2 * 255).astype(np.uint8)[..., None].repeat(3, -1)
    small = engine_albedo(checks)
    assert small.shape == (64, 64, 3)
    assert np.ptp(small) < 0.85 * np.ptp(checks)
    assert abs(small.mean() - checks.mean()) < 2


def test_a_library_finds_what_was_written(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realmaster.data.render.assets.texture_library.COUNTS", {"grass": 1, "plaster": 2})
    write_textures(tmp_path)
    library = TextureLibrary(tmp_path)
    texture = library["plaster1"]
    assert texture == Texture(tmp_path, "plaster1", 2.5, 0.004)
    for kind in ("albedo", "height", "roughness"):
        image = cv2.imread(str(texture.path(kind)))
        assert image is not None
        assert image.shape == (512, 512, 3)
    assert library.draw(Draws(0), "grass") == "grass0"
