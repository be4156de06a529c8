"""Real photons: what is known of the class of each detection, and what one or three energy bins can tell.

No real map in six bins is at hand. Those that are have one bin and no years, or three bins above 50 GeV. For each kind
a classifier is trained on simulations of just that kind, and measured on the real map and on further simulations, so
that the two can be compared: where the classifier does worse on the real sky, the simulation is wrong.
"""

import astropy.units as u
import numpy as np
from astropy.stats import binom_conf_interval

from astrolearn.recipes.fermi_lat_classes import FINDER
from astrolearn.sources.classes.labels import FAKE
from astrolearn.sources.classifier import SourceClassifier
from astrolearn.sources.finder import PointSourceFinder
from benchmarks.classes.data import N_YEARS_50, UNMATCHED, real_labels, yearly_50
from benchmarks.classes.scores import LEAVES, ROWS, TOP, Sample, Verdicts, measure
from benchmarks.classes.skies import SEED, skies
from benchmarks.fermi.data import map_2_20, map_50
from benchmarks.fermi.settings import GROUPS_50
from benchmarks.report import Report, with_error
from benchmarks.scoring import cells

__all__ = ["real"]

_TRAINING_SEED = 710_000  # of the skies that these classifiers are trained on
_N_TRAINING, _N_TEST = 12, 4
_BORDER = 1.0  # deg: the maps end at b = 0
_KINDS = {"2-20": 0.5 * u.deg, "50": 0.3 * u.deg}
_NAMES = {"2-20": "2 to 20 GeV, one bin, no years", "50": f"above 50 GeV, three bins, {N_YEARS_50} years"}
_EPOCHS = 16
_ALL_LABELS = ("bll", "fsrq", "agn", "psr", "pwn_snr", "unk", "other")
_SHOWN = ("overall", *(f"recall {name}" for name in TOP), *(f"precision {name}" for name in TOP), "balanced",
          "bll against fsrq")  # fmt: skip


def real(context):
    """Classes on the real northern maps, and on simulations of their kinds."""
    n_training, n_test = context.number(_N_TRAINING), context.number(_N_TEST)
    report = Report(
        "classes-real",
        "Classes of real sources",
        f"Two real maps of the northern sky (b > {_BORDER:g} deg), {', and '.join(_NAMES.values())}, each with a "
        f"classifier of its own, trained on {n_training} simulated skies of that kind (seeds from {_TRAINING_SEED} "
        "on) and not shipped; the weights named here are not used.",
        of_weights=False,
    )
    report.text(
        "Sources are found by the shipped finder at its default threshold. Their true class is CLASS1 of the 4FGL-DR2 "
        "source within 0.5 deg (2 to 20 GeV) or 0.3 deg (above 50 GeV), one to one; bcu and other active galaxies of "
        "unknown kind are *agn*, sources without association *unk*, and classes that are none of ours, such as "
        "globular clusters, binaries and starburst galaxies, *other*. *unk* and *other* are left out of the scores. "
        "The most probable class is reported. Errors: bootstrap over parts of the sky of 215 square degrees; "
        f"intervals are 68 % (Wilson). In simulations ({n_test} skies, seeds from {SEED} on, both hemispheres) the "
        "class is the true one."
    )
    for kind, radius in _KINDS.items():
        _one_kind(report, context, kind, radius, n_training, n_test)
    report.text(
        "One bin says nothing of a spectrum, and a map without years nothing of variability: what is left at 2 to 20 "
        "GeV is how bright a source is, how wide, and what lies around it. That tells the plane, where pulsars and "
        "remnants are, from the sky above it, where nearly all sources are active galaxies; it cannot tell a BL Lac "
        "from an FSRQ, or a pulsar at high latitude. Three bins above 50 GeV have a spectrum, but few photons: a "
        "pulsar is too soft to be there at all, an FSRQ nearly so, and a few photons in a year cannot vary. The shares "
        "of the classes do most of the work. What a classifier can do with the whole spectrum is in "
        ":ref:`benchmark-classes-simulated`, on simulations only."
    )
    return report


def _one_kind(report, context, kind, radius, n_training, n_test):
    classifier = _classifier(kind, n_training, context)
    simulated = Sample.of(skies(kind, n_test, context), classifier).verdicts()
    found, probability = _look_at_real(kind, classifier, context)
    labels, matches = real_labels(found, context.data, radius)
    verdicts = Verdicts(np.where(labels == UNMATCHED, FAKE, labels), classifier._decide(probability),
                        cells(found["coord"], 0))  # fmt: skip
    matched = labels != UNMATCHED
    # on the real sky nobody knows what a detection without counterpart is: simulations are also scored without fakes
    scored = {"real": verdicts.take(matched), "simulated, real sources only": simulated.take(simulated.true != FAKE),
              "simulated": simulated}  # fmt: skip
    results = {label: measure(one) for label, one in scored.items()}
    name = _NAMES[kind]
    rows = []
    for label, one in scored.items():
        values = [with_error(*results[label][key]) if label == "simulated" or key != f"precision {FAKE}" else "-"
                  for key in _SHOWN]  # fmt: skip
        rows.append([label, int(np.isin(one.true, ROWS[:6]).sum()), *values])
    report.table(f"Scores, {name}", ["sky", "detections of known class", *_SHOWN], rows)
    report.table(
        f"What each is taken for on the real sky, number and share of the row, {name}", ["true", *LEAVES],
        _confusion(np.where(matched, labels, "no counterpart"), verdicts.found, (*_ALL_LABELS, "no counterpart")),
    )  # fmt: skip
    report.table(
        f"What each is taken for in simulations, number and share of the row, {name}", ["true", *LEAVES],
        _confusion(simulated.true, simulated.found, ("bll", "fsrq", "psr", "pwn_snr", "unk", "faint", FAKE)),
    )  # fmt: skip
    lost = verdicts.found[~matched] == FAKE
    real_fake = verdicts.found[matched] == FAKE
    by_chance = f"{matches.chance_rate:.3f} ± {matches.chance_rate_error:.3f}"
    known = np.isin(labels, ROWS[:5])
    all_agn = float(np.mean(np.isin(labels[known], ("bll", "fsrq", "agn"))))
    report.text(
        f"{name}: to call all of the {int(known.sum())} real detections of known class active galaxies would be right "
        f"in {all_agn:.3f}. Of {len(found)} detections {int(matched.sum())} have a counterpart; of the {len(lost)} "
        f"without, {_interval(lost)} are called fake, and of those with one {_interval(real_fake)}. In simulations "
        f"{_interval(simulated.found[simulated.true == FAKE] == FAKE)} of the fakes are, and "
        f"{_interval(simulated.found[np.isin(simulated.true, (*LEAVES[:4], 'unk'))] == FAKE)} of what is real. Of "
        f"detections anywhere, a share of {by_chance} would have a counterpart by chance (catalogues shifted in "
        "longitude), so that some fakes are counted here as sources of the class of a bystander."
    )
    report.numbers[name] = {
        **results,
        "table of the real sky": {"rows": ROWS, "number": verdicts.take(matched).table()},
        "right if all were active galaxies": all_agn,
        "table of simulations": {"rows": ROWS, "number": simulated.table()},
        "without counterpart": len(lost), "of these called fake": int(lost.sum()),
        "with counterpart": int(matched.sum()), "of those called fake": int(real_fake.sum()),
        "chance rate": (matches.chance_rate, matches.chance_rate_error),
    }  # fmt: skip


def _classifier(kind, n, context):
    """Trained on skies of a kind, and kept."""
    path = context.cache / f"classifier-{kind}-{n}.safetensors"
    if path.is_file():
        return SourceClassifier.load(path)
    training = ((sky.detections, None, sky.labels) for sky in skies(kind, n, context, _TRAINING_SEED))
    classifier = SourceClassifier(class_weight=None, max_epochs=_EPOCHS, batch_size=128, random_state=0)
    classifier.fit(training).save(path)
    return classifier


def _look_at_real(kind, classifier, context):
    """Detections north of the border, and their probabilities."""
    finder = PointSourceFinder.from_pretrained(FINDER)
    if kind == "2-20":
        skymap = map_2_20(context.data)
        years = [skymap]
    else:
        skymap = map_50(context.data, groups=GROUPS_50)
        years = yearly_50(context.data)
    found = finder.predict(skymap)
    probability = classifier.predict_proba(years, found)
    inside = found["coord"].galactic.b.deg > _BORDER
    return found[inside], probability[inside]


def _confusion(true, found, labels):
    """Rows of counts with intervals of the share."""
    rows = []
    for label in labels:
        chosen = found[true == label]
        cells_ = [f"{np.sum(chosen == name)} ({_share(chosen == name)})" if len(chosen) else "-" for name in LEAVES]
        rows.append([f"{label} ({len(chosen)})", *cells_])
    return rows


def _share(right):
    """Share and its interval."""
    low, high = binom_conf_interval(int(np.sum(right)), len(right), interval="wilson")
    return f"{np.mean(right):.2f}, {low:.2f}-{high:.2f}"


def _interval(right):
    """Number, share and its interval."""
    return f"{int(np.sum(right))} of {len(right)} ({_share(right)})" if len(right) else "none of 0"
