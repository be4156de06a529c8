"""Write the page about the weights that come with the package, from their cards."""

from pathlib import Path

from astrolearn.core import weights

_NONE = "This version comes without weights.\n"


def write_page(path, folder=None):
    """Write the page to ``path``, in reStructuredText, from the cards in ``folder`` (default: the package's)."""
    folder = Path(weights.__file__).parents[1] / "weights" if folder is None else Path(folder)
    cards = [weights.read_card(card) for card in sorted(folder.glob("*.json"))]
    text = "\n".join(_section(card) for card in cards) or _NONE
    path.parent.mkdir(exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _section(card):
    title = f"{card['name']}-{card['number']}"
    facts = {
        "Estimator": f"`~astrolearn.{card['estimator']}`",
        "Trained on": card["trained_on"],
        "Data": card["data"],
        "Recipe": f"``{card['recipe']}``, seed {card['seed']}, revision ``{card['git_revision']}``",
        "SHA-256": f"``{card['sha256']}``",
    }
    lines = [title, "-" * len(title), ""]
    lines += [f":{name}: {value}" for name, value in facts.items()]
    lines += ["", *_scores("Measured on data held out from training", card["scores"])]
    if card["baselines"]:
        lines += _scores("What it was compared with, on the same data", card["baselines"])
    return "\n".join(lines)


def _escape(text):
    return text.replace("|", r"\|")


def _scores(title, scores):
    lines = [f".. list-table:: {title}", "   :widths: auto", ""]
    for name, value in scores.items():
        shown = f"{value:.3g}" if isinstance(value, float) else value
        # a bar would begin a substitution
        lines += [f"   * - {_escape(name)}", f"     - {_escape(str(shown))}"]
    return [*lines, ""]
