"""Images in all the forms in which they come."""

import astropy.units as u
import numpy as np
import pytest
import torch
from astropy.io import fits
from astropy.nddata import CCDData
from PIL import Image

from astrolearn.photoz.images import (
    ImageKind,
    aperture_photometry,
    describe_images,
    read_image_file,
    read_images,
    to_network,
)
from astrolearn.photoz.networks import dihedral

RNG = np.random.default_rng(0)
NUMBERS = ImageKind(False, None)


def galaxies(n=20, size=33, noise=1.0):
    """Round galaxies of known flux in two bands."""
    flux = RNG.uniform(500, 5000, (n, 2))
    distance = np.hypot(*np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]) * size / 2
    light = np.exp(-(distance**2) / 2 / 3**2) / (2 * np.pi * 3**2)
    return flux[:, :, None, None] * light + noise * RNG.normal(size=(n, 2, size, size)), flux


def test_channels_first_last_or_none():
    images = RNG.normal(size=(4, 3, 20, 22)).astype(np.float32)
    for X, channels in ((images, "auto"), (np.moveaxis(images, 1, -1), "auto"), (images, "first"),
                        (np.moveaxis(images, 1, -1), "last")):
        np.testing.assert_array_equal(read_images(X, channels)[0], images)
    assert read_images(images[:, 0])[0].shape == (4, 1, 20, 22)
    with pytest.raises(ValueError, match=r"\(4, 20, 3, 20\): say with channels="):
        read_images(np.zeros((4, 20, 3, 20)))
    with pytest.raises(ValueError, match=r"shape \(4, 5\); images are"):
        read_images(np.zeros((4, 5)))


def test_files(tmp_path):
    picture = RNG.integers(0, 255, (20, 20, 3)).astype(np.uint8)
    Image.fromarray(picture).save(tmp_path / "a.png")
    fits.PrimaryHDU(np.ones((3, 20, 20), ">f4"), fits.Header({"BUNIT": "nJy"})).writeto(tmp_path / "a.fits")
    fits.HDUList([fits.PrimaryHDU()]).writeto(tmp_path / "empty.fits")
    (tmp_path / "text.jpg").write_text("<html>")
    images, kind = read_images([tmp_path / "a.png", str(tmp_path / "a.png")])
    np.testing.assert_allclose(images[1], np.moveaxis(picture, -1, 0) / 255, rtol=1e-6)
    assert kind == (True, None)
    images, kind = read_images([tmp_path / "a.fits"], unit=u.uJy)
    np.testing.assert_allclose(images, 1e-3)
    assert kind == (False, u.uJy)
    fits.PrimaryHDU(np.ones((20, 20)), fits.Header({"BUNIT": "nanomaggies"})).writeto(tmp_path / "sdss.fits")
    assert read_image_file(tmp_path / "sdss.fits").unit == u.nmgy
    fits.PrimaryHDU(np.ones((20, 20)), fits.Header({"BUNIT": "parrots"})).writeto(tmp_path / "odd.fits")
    with pytest.raises(ValueError, match=r"odd\.fits: BUNIT has the unit 'parrots', which is not known"):
        read_image_file(tmp_path / "odd.fits")
    with pytest.raises(ValueError, match=r"empty\.fits has no image"):
        read_image_file(tmp_path / "empty.fits")
    with pytest.raises(ValueError, match=r"text\.jpg is not an image"):
        read_image_file(tmp_path / "text.jpg")
    with pytest.raises(OSError, match=r"none\.fits"):
        read_image_file(tmp_path / "none.fits")


def test_integers_and_numbers(tmp_path):
    with pytest.raises(ValueError, match=r"numbers: X\[0\] and X\[1\]"):
        read_images([np.ones((20, 20), np.uint8), np.ones((20, 20))])
    masked = np.ma.MaskedArray(np.full((1, 20, 20), 60000, np.uint16), mask=np.eye(20, dtype=bool)[None])
    with pytest.raises(ValueError, match="from 0 to 255"):
        read_images(masked)
    Image.fromarray(np.full((20, 20), 40000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match=r"deep\.png has the mode I;16"):
        read_images([tmp_path / "deep.png"])
    with pytest.raises(ValueError, match="from 0 to 255, as in a JPG; X has 0 to 60000"):
        read_images(np.array([[[0, 60000]]], dtype=np.uint16).repeat(20, 1).repeat(10, 2))


def test_scales_of_sky_images():
    images, _ = galaxies()
    description = describe_images(images.astype(np.float32), ImageKind(False, u.nJy), 24)
    # of the sky, and some of the light of the galaxies
    assert (description["noise"] > 0.95).all()
    assert (description["noise"] < 2).all()
    out = to_network(images.astype(np.float32), NUMBERS, description)
    assert out.shape == (20, 2, 24, 24)
    assert out.mean() == pytest.approx(0, abs=1e-3)
    assert out.std() == pytest.approx(1, abs=1e-3)
    # the unit of the flux changes nothing
    other = describe_images(1e-3 * images.astype(np.float32), ImageKind(False, u.uJy), 24)
    np.testing.assert_allclose(to_network(1e-3 * images.astype(np.float32), NUMBERS, other), out, atol=1e-4)


def test_missing_pixels():
    images, _ = galaxies()
    description = describe_images(images, NUMBERS, None)
    gappy = images.copy()
    gappy[3, 0, :5] = np.nan
    out, expected = to_network(gappy, NUMBERS, description), to_network(images, NUMBERS, description)
    np.testing.assert_array_equal(np.delete(out, 3, axis=0), np.delete(expected, 3, axis=0))
    assert np.isfinite(out).all()
    gappy[3, 0] = np.nan
    with pytest.raises(ValueError, match="image 3 of X has a channel without a valid pixel"):
        to_network(gappy, NUMBERS, description)


def test_light_in_profile_and_circles():
    images, flux = galaxies(noise=1e-3)
    description = describe_images(images, NUMBERS, None) | {"noise": np.array([1e-3, 1e-3])}
    measured = aperture_photometry(images, description)
    assert measured.shape == (20, 4)
    # the difference of the bands is that of the logarithms of the flux
    np.testing.assert_allclose(measured[:, 1] - measured[:, 0], np.log(flux[:, 1] / flux[:, 0]), atol=1e-3)
    # all of the light is within half the side; channels are weighted with their light
    distance = np.hypot(*np.mgrid[-16:17, -16:17])
    total = np.sinh(measured[:, 3]) * 1e-3 * np.sqrt(np.count_nonzero(distance <= 16.5))
    np.testing.assert_allclose(total, np.sqrt((flux**2).sum(axis=1)), rtol=0.07)  # pixels are 33 / 32 wide there
    # a circle of 1/4 of the side, 8.25 pixels
    inside = distance <= 8.25
    part = np.sinh(measured[:, 2]) * 1e-3 * np.sqrt(np.count_nonzero(inside))
    expected = images[:, 0][:, inside].sum(axis=1) / images[:, 0][:, distance <= 16.5].sum(axis=1)
    np.testing.assert_allclose(part / total, expected, rtol=1e-3)
    # where pixels are missing, the profile says what they would have been
    gappy = images.copy()
    gappy[:, 1, 14:16, 12:20] = np.nan
    gappy = aperture_photometry(gappy, description)
    np.testing.assert_allclose(gappy[:, 1] - gappy[:, 0], measured[:, 1] - measured[:, 0], atol=0.03)


def test_faint_channel_does_not_choose_its_pixels():
    images, _ = galaxies(2000)
    images[:, 1] = RNG.normal(size=images[:, 1].shape)
    description = describe_images(images, NUMBERS, None) | {"noise": np.ones(2)}
    light = np.sinh(aperture_photometry(images, description)[:, 1])
    assert abs(light.mean()) < 0.2
    assert light.std() == pytest.approx(1, abs=0.1)


def test_light_in_pictures():
    pictures = RNG.integers(0, 40, (4, 20, 20, 3)).astype(np.uint8)
    pictures[:, 8:12, 8:12, 1] += 100
    images, kind = read_images(pictures)
    description = describe_images(images, kind, None)
    measured = aperture_photometry(images, description)
    assert measured.shape == (4, 15)
    inside = np.hypot(*np.mgrid[-9.5:10, -9.5:10]) <= 5
    np.testing.assert_allclose(measured[:, 9:12], images[:, :, inside].mean(axis=2), rtol=1e-5)
    black = aperture_photometry(np.zeros_like(images), description)
    np.testing.assert_array_equal(black, 0)


def test_views_of_the_sky():
    images = torch.arange(2 * 9.0).reshape(1, 2, 3, 3).repeat(8, 1, 1, 1)
    views = dihedral(images, torch.arange(8))
    assert len({tuple(view.flatten().tolist()) for view in views}) == 8
    assert all(torch.equal(view.flatten(1).sort()[0], images[0].flatten(1).sort()[0]) for view in views)
    assert torch.equal(views[0], images[0])


def test_quantities_and_ccds():
    data = RNG.normal(size=(2, 20, 20)).astype(np.float32)
    ccds = [CCDData(image, unit=u.nJy, mask=np.zeros((20, 20), bool)) for image in data]
    images, kind = read_images(ccds, unit=u.uJy)
    assert kind.unit == u.uJy
    np.testing.assert_allclose(images[:, 0], 1e-3 * data, rtol=1e-6)
    with pytest.raises(u.UnitConversionError, match="'nJy'"):
        read_images(ccds, unit=u.K)
    with pytest.raises(ValueError, match="differ in shape"):
        read_images([data[0] * u.nJy, data[1, :10] * u.nJy])
