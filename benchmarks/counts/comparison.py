"""Every method on the same fresh skies: errors, stated widths, correlations, seconds."""

import numpy as np
from matplotlib.figure import Figure

from astrolearn.counts import RadioSkySimulator
from astrolearn.counts.expected import ExpectedSkies
from astrolearn.counts.features import HistogramFeatures
from astrolearn.counts.posterior import ONE_SIGMA
from astrolearn.counts.training import SkySampler, learn_correction
from benchmarks.counts.context import DEEP, EMU, N_PIXELS, TALK_CUTOUTS, TALK_SKIES
from benchmarks.counts.skies import FAMILIES, METHODS, OURS, PD, SEP, TALK, observe
from benchmarks.report import Report, with_error

__all__ = ["POOLED", "deep", "emu"]

POOLED = "all families"
_SEED, _DEEP_SEED = 71, 72
_HISTOGRAMS = 200  # of each family
_STYLES = {OURS: "o-", PD: "s--", SEP: "^:", TALK: "x-."}


def emu(context):
    """Skies of EMU: 25 uJy/beam."""
    report = Report("counts-emu", "Source counts at 25 µJy/beam", _measured(context, EMU))
    answers = _compare(report, context.regressor, context.talk(), EMU, context.n_skies, _SEED)
    report.figure(
        "counts-cure", _problem_and_cure(context.regressor, answers),
        "Left: root mean square error of log10 n on skies of the talk's family and on those with independent counts, "
        "for the talk's network, trained on its family, and for the regressor, trained on independent counts. Right: "
        "correlation of the errors of neighbouring bins.",
    )  # fmt: skip
    report.text(
        f"The talk's CNN was trained here on {TALK_CUTOUTS} cutouts of {TALK_SKIES} skies of the talk's family with "
        "the same noise, and its answers for 100 cutouts of a sky are averaged. Its layers are our choice, as the talk "
        "does not give them (``Regis2022Network``)."
    )
    return report


def deep(context):
    """Skies with a tenth of the noise: 3 uJy/beam."""
    report = Report("counts-deep", "Source counts at 3 µJy/beam", _measured(context, DEEP))
    _compare(report, context.deep(), None, DEEP, context.n_skies, _DEEP_SEED)
    report.text("The regressor is one trained by the same recipe for this noise; it is not shipped.")
    return report


def _measured(context, tool):
    n_pixels = N_PIXELS[tool]
    side = n_pixels * tool.pixel_scale.to_value("deg")
    return (f"{context.n_skies} fresh skies of each of {len(FAMILIES)} families of counts, of {side**2:.3g} deg2 each "
            f"({n_pixels} x {n_pixels} pixels of {tool.pixel_scale:.3g}), with a beam of {tool.beam_major:.3g}, a "
            f"noise of {1e6 * tool.noise.value:.3g} µJy/beam, clustered and extended sources.")


def _compare(report, regressor, cnn, tool, n_skies, seed):
    answers = observe(regressor, cnn, tool, N_PIXELS[tool], n_skies, seed)
    log_flux = (np.log10(regressor.flux_bins_.value)[1:] + np.log10(regressor.flux_bins_.value)[:-1]) / 2
    methods = [method for method in METHODS if method in next(iter(answers.values())).mean]
    head = ["log10 S/Jy", *(f"{value:.1f}" for value in log_flux)]
    errors = {method: {name: part.error(method) for name, part in answers.items()} for method in methods}
    rms = report.numbers["rms"] = {}
    for name in (*answers, POOLED):
        rows = []
        for method in methods:
            parts = list(errors[method].values()) if name == POOLED else [errors[method][name]]
            values = rms.setdefault(method, {})[name] = _rms(np.concatenate(parts))
            rows.append([method, *(with_error(*pair) for pair in values)])
        chosen = answers.values() if name == POOLED else [answers[name]]
        spread = np.concatenate([part.true - regressor.prior_mean_ for part in chosen])
        rms.setdefault("prior", {})[name] = _rms(spread)
        rows.append(["middle of the prior", *(with_error(*pair) for pair in _rms(spread))])
        title = "all families" if name == POOLED else f"skies of the family: {name}"
        trained = ", which the regressor was trained on" if name == "independent bins" else ""
        report.table(f"Root mean square error of log10 n in dex, {title}{trained}", [head[0], *head[1:]], rows)
    informed = np.concatenate([part.driven for part in answers.values()]).mean(axis=0) < 0.5
    _widths(report, regressor, tool, answers, methods, head, seed)
    _correlations(report, errors, informed, log_flux, methods)
    _speed(report, answers, methods)
    report.text(
        "Errors are standard errors: of a root mean square from n skies by its value over the root of 2n, of a share "
        "those of the binomial distribution. The fit of fluctuations begins at the middle of the prior, which is 0.4 "
        "dex from the truth, and has the prior of the regressor's training skies. Detections are counted in bins of "
        "their peak and divided by the numbers in skies with the reference counts, which corrects for completeness; a "
        "dash stands where fewer than one source in twenty is found."
    )
    return answers


def _rms(errors):
    n = np.maximum((~np.isnan(errors)).sum(axis=0), 1)
    value = np.sqrt(np.nansum(errors**2, axis=0) / n)
    value = np.where(np.isnan(errors).all(axis=0), np.nan, value)
    return list(zip(value, value / np.sqrt(2 * n), strict=True))


def _widths(report, regressor, tool, answers, methods, head, seed):
    """Shares of truths within one stated standard deviation, and of bins that are marked."""
    rows, numbers = [], report.numbers.setdefault("coverage", {})
    for method in methods:
        if method == SEP:
            continue
        inside = np.concatenate([np.abs(part.error(method)) < part.sigma[method] for part in answers.values()])
        numbers[method] = _shares(inside)
        rows.append([f"{method}, {len(inside)} images", *(with_error(*pair, 2) for pair in numbers[method])])
    inside = _inside_of_histograms(regressor, tool, answers, seed)
    numbers["histograms"] = _shares(inside)
    rows.append([f"{OURS}, {len(inside)} histograms", *(with_error(*pair, 2) for pair in numbers["histograms"])])
    driven = np.concatenate([part.driven for part in answers.values()])
    report.numbers["driven"] = _shares(driven)
    rows.append(["skies in which the bin is prior_driven", *(with_error(*pair, 2) for pair in _shares(driven))])
    sigma = np.concatenate([part.sigma[OURS] for part in answers.values()]).mean(axis=0)
    report.numbers["sigma"] = sigma
    report.numbers["prior width"] = regressor.prior_sigma_
    rows.append(["mean stated error in dex", *(f"{value:.3f}" for value in sigma)])
    report.table(f"Share of truths within one stated standard deviation ({ONE_SIGMA:.3f} is right), all families", head,
                 rows)  # fmt: skip
    report.text(
        "Histograms are drawn as in training, from the probability of deflection with the noise of a finite sky, and "
        "differ from it as those of these images do."
    )


def _shares(flags):
    share = flags.mean(axis=0)
    return list(zip(share, np.sqrt(share * (1 - share) / len(flags)), strict=True))


def _inside_of_histograms(regressor, tool, answers, seed):
    """Whether truths are within one stated standard deviation, for drawn histograms (n, n_bins)."""
    rng, inside = np.random.default_rng(seed), []
    log_flux = (np.log10(regressor.flux_bins_.value)[1:] + np.log10(regressor.flux_bins_.value)[:-1]) / 2
    features = HistogramFeatures(regressor.features_)
    reference = regressor.n_pixels_, regressor._n_samples(1)
    for name, part in answers.items():
        simulator = RadioSkySimulator(instrument=tool, counts=FAMILIES[name](), n_pixels=N_PIXELS[tool])
        sampler = SkySampler(ExpectedSkies(simulator), features, None, log_flux, reference, (1.0, 1.0))
        sampler.correction = learn_correction(sampler, part.nodes, part.cumulative, rng)
        inputs, true = sampler.draw(_HISTOGRAMS, rng, whole=True)
        mean, covariance = regressor._normal(inputs)
        inside.append(np.abs(true - mean) < np.sqrt(np.diagonal(covariance, axis1=1, axis2=2)))
    return np.concatenate(inside)


def _correlations(report, errors, informed, log_flux, methods):
    """Correlation of the errors of neighbouring informed bins."""
    numbers, rows = report.numbers.setdefault("correlation", {}), []
    pairs = [i for i in range(len(informed) - 1) if informed[i] and informed[i + 1]]
    for method in (method for method in methods if method != SEP):
        pooled = np.concatenate(list(errors[method].values()))
        values = [_correlation(pooled[:, i], pooled[:, i + 1]) for i in pairs]
        numbers[method] = values
        rows.append([method, *(with_error(*pair, 2) for pair in values)])
    head = ["method", *(f"{log_flux[i]:.1f}, {log_flux[i + 1]:.1f}" for i in pairs)]
    report.table("Correlation of the errors of neighbouring bins that were measured, all families", head, rows)


def _correlation(first, second):
    value = np.corrcoef(first, second)[0, 1]
    return value, (1 - value**2) / np.sqrt(len(first) - 1)


def _speed(report, answers, methods):
    rows = []
    for method in methods:
        seconds = np.concatenate([part.seconds[method] for part in answers.values()])
        report.numbers.setdefault("seconds", {})[method] = np.median(seconds), seconds.std() / np.sqrt(len(seconds))
        rows.append([method, with_error(*report.numbers["seconds"][method], 2)])
    report.table("Seconds for one sky in memory, median, with two skies at a time on two cores", ["method", "seconds"],
                 rows)  # fmt: skip


def _problem_and_cure(regressor, answers):
    flux = 10 ** ((np.log10(regressor.flux_bins_.value)[1:] + np.log10(regressor.flux_bins_.value)[:-1]) / 2)
    figure = Figure(figsize=(9.5, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    colours = {TALK: "#D55E00", OURS: "#0072B2", PD: "#555555"}
    for method in (TALK, OURS, PD):
        for family, style in (("talk", "o-"), ("independent bins", "s--")):
            if method == PD and family == "talk":
                continue
            rms = [value for value, _ in _rms(answers[family].error(method))]
            filled = colours[method] if family == "talk" else "white"
            left.plot(flux, rms, style, color=colours[method], mfc=filled, ms=4.5, lw=1.3, label=f"{method}: {family}")
        errors = answers["independent bins"].error(method)
        pairs = [np.corrcoef(errors[:, i], errors[:, i + 1])[0, 1] for i in range(len(flux) - 1)]
        right.plot(np.sqrt(flux[1:] * flux[:-1]), pairs, "s--", color=colours[method], mfc="white", ms=4.5, lw=1.3,
                   label=method)
    left.plot(flux, regressor.prior_sigma_, color="0.6", lw=4, alpha=0.5, zorder=0, label="width of the prior")
    left.set(xscale="log", yscale="log", xlabel="flux density S (Jy)", ylabel="rms error of log$_{10}$ n (dex)")
    right.set(xscale="log", xlabel="flux density S (Jy)", ylabel="correlation of neighbouring errors", ylim=(-1, 1.02))
    right.axhline(0, color="0.6", lw=0.8)
    for axes in (left, right):
        axes.axvline(5 * regressor.instrument_["noise"].value, color="0.4", lw=1, ls=":")
    right.annotate("5 times the noise", (5 * regressor.instrument_["noise"].value, -0.97), xytext=(3, 0),
                   textcoords="offset points", fontsize="small", color="0.3")
    left.legend(fontsize="x-small", frameon=False)
    right.legend(fontsize="small", frameon=False)
    right.set_title("skies of independent bins", fontsize="medium")
    return figure
