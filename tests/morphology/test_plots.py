"""Pictures of classes: hue, saturation and value say what they are said to say."""

import numpy as np
import pytest
from matplotlib.colors import rgb_to_hsv, to_rgb
from morphology.blobs import BANDS, CLASSES, blobs

from astrolearn.morphology.bands import read_bands
from astrolearn.morphology.catalogues import make_catalogue
from astrolearn.morphology.plots import class_picture, plot_classes
from astrolearn.morphology.segments import find_segments

RED, BLUE, GREEN, YELLOW = (to_rgb(colour) for colour in ("#D55E00", "#0072B2", "#009E73", "#F0E442"))


def picture(*probability):
    return class_picture(np.reshape(probability, (-1, 1, 1)))[0, 0]


def test_colours_of_certain_pixels():
    for i, colour in enumerate((RED, BLUE, GREEN, YELLOW)):
        np.testing.assert_allclose(picture(*np.eye(5)[i]), colour)
    np.testing.assert_allclose(picture(0, 0, 0, 0, 1), 0)
    np.testing.assert_allclose(picture(*[np.nan] * 5), 0.35)


def test_uncertainty_is_pale_and_background_dark():
    # half disk, half irregular: white
    np.testing.assert_allclose(picture(0, 0.5, 0.5, 0, 0), 1)
    hsv = rgb_to_hsv(picture(0.1, 0.5, 0.2, 0, 0.2))
    assert hsv[0] == pytest.approx(rgb_to_hsv(BLUE)[0])
    # saturation is the difference of the two highest probabilities, 0.3, of pure blue
    np.testing.assert_allclose(picture(0.1, 0.5, 0.2, 0, 0.2), 0.8 * (0.3 * np.array(BLUE) + 0.7))
    assert (picture(0, 0.4, 0, 0, 0.6) < picture(0, 0.4, 0, 0, 0.5)).all()


@pytest.mark.parametrize("shape", [(5, 4), (1, 4, 4), (9, 4, 4)])
def test_other_arrays_are_refused(shape):
    with pytest.raises(ValueError, match=r"expected \(n_classes \+ 1, h, w\)"):
        class_picture(np.zeros(shape))


def test_figure():
    images, labels = blobs(3)
    field = read_bands(images, BANDS)
    labels[:, :5] = np.nan
    catalogue = make_catalogue(field, labels, find_segments(field, labels[-1], 0.5, 5), CLASSES)
    figure = plot_classes(field, labels, catalogue, CLASSES)
    left, right = figure.axes
    assert len(left.patches) == len(catalogue) > 2
    assert left.get_title() == "mean of H, V over noise"
    assert (left.get_xlabel(), left.get_ylabel()) == ("x (pixels)", "y (pixels)")
    np.testing.assert_allclose(right.images[0].get_array(), class_picture(labels))
    names = [text.get_text() for text in figure.legends[0].texts]
    assert names == ["round", "long", "background", "not covered"]
    figure.canvas.draw()
