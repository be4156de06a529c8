"""The command ``astrolearn``: what each estimator does in one line, from files to files.

Each domain has a module ``commands`` with plain functions that do the work; here are their options, and what all
commands share. Those modules are imported when a command runs, so that ``astrolearn --help`` answers at once. What
users can get wrong ends with one line on the standard error stream and the status 2.
"""

import argparse
import sys
import warnings
from contextlib import contextmanager
from importlib import import_module
from importlib.metadata import version

__all__ = ["main"]


def main(argv=None):
    """
    Run the command line.

    Parameters
    ----------
    argv : list of str, optional
        Arguments; default those of the process.

    Returns
    -------
    int
        Exit status: 0; 2 for input that cannot be used; 130 if interrupted.
    """
    try:
        options = vars(_parser().parse_args(argv))
    except SystemExit as leave:  # of --help and --version, and of errors in the arguments
        return leave.code
    command, module = options.pop("command"), options.pop("module")
    name = f"astrolearn {command}"
    try:
        with _short_warnings(name):
            getattr(import_module(module), command)(**options)
    except KeyboardInterrupt:
        print(f"\n{name}: interrupted", file=sys.stderr)
        return 130
    except (OSError, ValueError, MemoryError) as error:
        first_line, *_ = str(error).strip().splitlines() or [type(error).__name__]
        print(f"{name}: error: {first_line.rstrip(':')}", file=sys.stderr)
        return 2
    return 0


@contextmanager
def _short_warnings(name):
    """Show warnings as one line each, without the code that they come from."""
    import astropy  # noqa: F401 (replaces showwarning when it is first imported)

    def show(message, category, filename, lineno, file=None, line=None):
        print(f"{name}: warning: {' '.join(str(message).split())}", file=sys.stderr)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


class _Parser(argparse.ArgumentParser):
    """Errors are one line, without the usage."""

    def error(self, message):
        self.exit(2, f"{self.prog}: error: {message}\n")


class _Listed(argparse.Action):
    """Names separated by commas; the option may be repeated."""

    def __call__(self, parser, namespace, values, option_string=None):
        names = [name.strip() for name in values.split(",") if name.strip()]
        setattr(namespace, self.dest, [*(getattr(namespace, self.dest) or ()), *names])


class _Joined(argparse.Action):
    """Values and their unit as one text, with the unit in ``const`` where there are only numbers."""

    def __call__(self, parser, namespace, values, option_string=None):
        text = " ".join(values).replace(",", " ").strip()
        try:
            float(text.split(" ")[-1])
        except ValueError:
            setattr(namespace, self.dest, text)
        else:
            setattr(namespace, self.dest, f"{text} {self.const}")


def _parser():
    parser = _Parser(prog="astrolearn", description="Deep-learning estimators for astronomy, on the command line.")
    parser.add_argument("--version", action="version", version=f"astrolearn {version('astrolearn')}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    _add_demo(commands)
    _add_find(commands)
    _add_detect(commands)
    _add_photoz(commands)
    _add_counts(commands)
    _add_segment(commands)
    return parser


def _add_command(commands, name, module, description):
    parser = commands.add_parser(name, help=description, description=f"{description[0].upper()}{description[1:]}.")
    parser.set_defaults(module=module)
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.add_argument("-q", "--quiet", action="store_true", help="show neither progress nor results")
    return parser


def _add_demo(commands):
    parser = _add_command(commands, "demo", "astrolearn.sources.commands",
                          "simulate ten years of the Fermi-LAT sky, find its sources and compare")
    parser.add_argument("--out", metavar="FOLDER", default="astrolearn-demo",
                        help="folder for sources.ecsv, sources.reg and sky.png (default: astrolearn-demo)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the simulation (default: 1)")


def _add_find(commands):
    parser = _add_command(commands, "find", "astrolearn.sources.commands",
                          "find point sources in counts maps or a photon list and tell what they are, or find stars in "
                          "an optical image")
    add = parser.add_argument
    add("counts", metavar="MAP_OR_EVENTS", nargs="+",
        help="FITS file: HEALPix or WCS counts map, photon list (FT1), or optical image; several maps, one for each "
             "year, are summed to find sources, and --classify looks at each")
    add("-o", "--output", metavar="FILE", required=True, help="catalogue to write, .ecsv or .fits")
    add("--regions", metavar="FILE", help="regions to write, .reg (ds9) or .crtf")
    add("--plot", metavar="FILE", help="picture to write, .png, .pdf, .svg or .jpg")
    add("--energy-edges", metavar="E", nargs="+", action=_Joined, const="GeV",
        help="edges of energy bins, such as 0.3 0.5 1 2 7 20 1000 GeV (default: those of the map; for a photon list "
             "those of the classifier, or else chosen from its energies)")
    add("--nside", type=int, metavar="N",
        help="HEALPix resolution for a photon list (default: chosen from energies and PSF, 64 to 512)")
    add("--event-type", choices=("FRONT", "BACK"), type=str.upper, help="photons to take from a list (default: all)")
    add("--threshold", type=float, metavar="P",
        help="smallest probability of a source (default: that of the weights, 0.35 for fermi-lat)")
    add("--weights", metavar="NAME_OR_FILE", default="fermi-lat",
        help="of the network: fermi-lat (default) for counts maps and photon lists, optical-stars for optical images")
    add("--classify", metavar="NAME_OR_FILE", nargs="?", const="fermi-lat-classes",
        help="say what the sources are and which are fake, with a classifier's weights (fermi-lat-classes if none are "
             "named; then put the files first); give yearly maps, or a photon list with times, so that it sees which "
             "sources vary")
    add("--counterparts", metavar="CATALOGUE",
        help="FITS or ECSV catalogue of known sources, of which the nearest one to each source is added")
    add("--mask", metavar="REGIONS", help="ds9 or CRTF file with regions to leave out")
    add("--psf", metavar="PSF", nargs="+", action=_Joined, const="deg",
        help="event type of the LAT (FRONT, BACK, FRONT+BACK, PSF0 ... PSF3), FITS table as of gtpsf, or 68 %% radii "
             "in the energy bins, such as 0.8 0.4 deg (default: that of the map, or of all LAT events); of optical "
             "images the width of the stars, such as 2.5 pix (default: measured)")
    add("--exposure", metavar="FILE",
        help="HEALPix exposure cube as of gtexpcube2, of all years, for fluxes and classes")


def _add_detect(commands):
    parser = _add_command(commands, "detect", "astrolearn.emri.commands",
                          "look for extreme-mass-ratio inspirals in strain")
    add = parser.add_argument
    add("strain", metavar="STRAIN", help="FITS or HDF5 file with the channels I and II")
    add("-o", "--output", metavar="FILE", required=True, help="table to write, .ecsv or .fits")
    add("--plot", metavar="FILE", help="spectrogram of the most significant series, .png, .pdf, .svg or .jpg")
    add("--psd", metavar="FILE", help="table with the columns frequency and psd of the noise in one channel "
                                      "(default: the detector's design)")
    add("--whitened", action="store_true", help="the strain is white already")
    add("--sample-interval", metavar="T", nargs="+", action=_Joined, const="s",
        help="such as 30 s, for a file that does not state it")
    add("--false-alarm-probability", type=float, metavar="P", help="per series (default: that of the weights, 0.01)")
    add("--weights", metavar="NAME_OR_FILE", default="tianqin-3month",
        help="of the network (default: tianqin-3month)")


def _add_photoz(commands):
    parser = _add_command(commands, "photoz", "astrolearn.photoz.commands",
                          "give galaxies of a catalogue photometric redshifts")
    add = parser.add_argument
    add("catalogue", metavar="CATALOGUE", help="table of magnitudes with errors: ECSV, FITS, CSV, VOTable")
    add("-o", "--output", metavar="FILE", required=True, help="table to write, .ecsv or .fits")
    add("--columns", metavar="NAME=COLUMN,...", action=_Listed,
        help="what the catalogue calls the columns of the weights (u g r i z u_err ... z_err), such as "
             "u=dered_u,g=dered_g")
    add("--missing", metavar="NAME,...", action=_Listed,
        help="columns of the weights that the catalogue does not have, such as u,u_err")
    add("--true-redshift", metavar="COLUMN", help="spectroscopic redshifts to compare with")
    add("--pdf", action="store_true", help="write the densities, too")
    add("--coverage", type=float, metavar="P", default=0.68, help="of the intervals (default: 0.68)")
    add("--plot", metavar="FILE", help="picture of the comparison to write, .png, .pdf, .svg or .jpg; "
                                       "needs --true-redshift")
    add("--weights", metavar="NAME_OR_FILE", default="sdss-mgs-ugriz",
        help="of the network (default: sdss-mgs-ugriz)")


def _add_counts(commands):
    parser = _add_command(commands, "counts", "astrolearn.counts.commands",
                          "estimate the source counts of a radio image, down to below its noise")
    add = parser.add_argument
    add("image", metavar="IMAGE", help="FITS image in Jy/beam, K or the like, which states its beam (BMAJ, BMIN)")
    add("-o", "--output", metavar="FILE", required=True, help="table to write, .ecsv or .fits")
    add("--plot", metavar="FILE", help="picture of the Euclidean counts to write, .png, .pdf, .svg or .jpg")
    add("--dezotti", metavar="FILE",
        help="text file to write, .txt or .dat, with the measured bins in the style of De Zotti et al. (2010): log S, "
             "S^2.5 n and its errors")
    add("--published", metavar="FILE", help="counts in that style to draw in the picture")
    add("--published-frequency", metavar="F", nargs="+", action=_Joined, const="GHz",
        help="of the published counts, such as 1.4 GHz, from which they are scaled (default: that of the image)")
    add("--noise", metavar="NOISE", nargs="+", action=_Joined, const="Jy/beam",
        help="standard deviation, such as 25 uJy/beam (default: that of the header)")
    add("--beam", metavar="WIDTH", nargs="+", action=_Joined, const="arcsec",
        help="full width at half maximum, or major and minor, such as 18 15 arcsec (default: that of the header)")
    add("--pixel-scale", metavar="SIDE", nargs="+", action=_Joined, const="arcsec",
        help="of a pixel, such as 5 arcsec (default: that of the header)")
    add("--frequency", metavar="F", nargs="+", action=_Joined, const="GHz",
        help="such as 944 MHz (default: that of the header)")
    add("--weights", metavar="NAME_OR_FILE", default="emu-944mhz", help="of the network (default: emu-944mhz)")


def _add_segment(commands):
    parser = _add_command(commands, "segment", "astrolearn.morphology.commands",
                          "detect the galaxies of images in several bands and tell their morphology")
    add = parser.add_argument
    add("images", metavar="IMAGE", nargs="+",
        help="FITS files on one pixel grid, in the order of the weights' bands (F160W F125W F606W F850LP), or "
             "BAND=FILE in any order; filters in the headers are compared")
    add("-o", "--output", metavar="FILE", required=True, help="catalogue to write, .ecsv or .fits")
    add("--rms", metavar="IMAGE", nargs="+",
        help="FITS files with the standard deviation of the noise of each image, in order or named like these")
    add("--mask", metavar="IMAGE", help="FITS image that is not 0 where pixels are not to be used")
    add("--segmap", metavar="FILE", help="FITS image of the sources' labels to write")
    add("--probabilities", metavar="FILE", help="FITS file to write, with an image of each class's probability")
    add("--plot", metavar="FILE", help="picture to write, .png, .pdf, .svg or .jpg")
    add("--regions", metavar="FILE", help="regions to write, .reg (ds9) or .crtf")
    add("--threshold", type=float, metavar="P",
        help="probability of background below which a pixel belongs to a source (default: that of the weights, 0.5)")
    add("--stride", type=int, metavar="N",
        help="for weights of Morpheus: pixels from one window to the next (default: 1; 8 is up to 64 times faster)")
    add("--weights", metavar="NAME_OR_FILE", default="hst-simulated",
        help="of the network: a name, a file, or the published weights of Morpheus as .npz (default: hst-simulated)")


if __name__ == "__main__":
    sys.exit(main())
