"""What a report page says where each network was trained several times."""

from __future__ import annotations

from collections.abc import Sequence

from eyebright.evaluation.compare import Contestant, spread_in_words
from eyebright.evaluation.repeats import Repeats
from eyebright.evaluation.report import percent
from eyebright.evaluation.tables import interval_bar
from eyebright.page import markup


def repeats_of(contestants: Sequence[Contestant]) -> Repeats | None:
    """How the networks were repeated; None where each was trained once."""
    return next((c.repeats for c in contestants if c.repeats is not None), None)


def interval_words(contestants: Sequence[Contestant]) -> str:
    """What the intervals of accuracy mean, as HTML."""
    repeats = repeats_of(contestants)
    if repeats is None:
        return (
            "They took no part in training. The line on each bar is the 95 % interval: where the accuracy of the same "
            "network on endlessly many such images would lie."
        )
    count = len(repeats.trainings)
    if repeats.kind == "seeds":
        return (
            f"They took no part in training. Accuracy and macro F1 are means over {count} seeds, &#177; the standard "
            "deviation of single trainings. The line on each bar is the 95 % interval of the mean: where it would lie "
            "with endlessly many such images and seeds. The rest is the first seed's; the time is the mean."
        )
    return (
        f"Each was tested once, by a training on the other {count - 1} of {count} folds, and all answers were counted "
        "together. &#177; is the standard deviation of the folds' accuracies. The line on each bar is the 95 % "
        "interval for endlessly many such images; as the trainings share most of their images, it is a little too "
        "narrow (Bengio and Grandvalet 2004), and it speaks of training on so many images, not of one finished network."
    )


def pair_words(contestants: Sequence[Contestant]) -> str:
    """What the table of pairs shows, as HTML."""
    repeats = repeats_of(contestants)
    if repeats is not None and repeats.kind == "seeds":
        return (
            "Each two on the same images and seeds: the difference of their mean accuracies, with its 95 % interval. "
            "<em>Chance</em> says how often two equally good ones would differ so much with other images and other "
            "seeds, corrected for the number of pairs."
        )
    return (
        "Each two on the same images: the difference of their accuracies, with its 95 % interval. <em>Chance</em> "
        "says how often two equally good ones would differ so much, corrected for the number of pairs."
    )


def render_trainings(contestants: Sequence[Contestant]) -> str:
    """The accuracy of every training of every network, with means; empty where each was trained once."""
    repeats = repeats_of(contestants)
    if repeats is None:
        return ""
    shown = [c for c in contestants if c.repeats is not None]
    kind = "seed" if repeats.kind == "seeds" else "fold"
    head = f'<th scope="col">{kind}</th>' + "".join(
        f'<th scope="col" class="number">{markup.text(c.title)}</th>' for c in shown
    )
    rows = "".join(
        f'<tr><th scope="row">{training.number}</th>'
        + "".join(f'<td class="number">{percent(_of(c).trainings[place].accuracy)}</td>' for c in shown)
        + "</tr>"
        for place, training in enumerate(repeats.trainings)
    )
    means = "".join(
        f'<td class="number"><strong>{percent(_of(c).accuracy_mean)}</strong> {spread_in_words(c)}</td>' for c in shown
    )
    f1 = "".join(
        f'<td class="number">{_of(c).macro_f1_mean:.3f}'
        + (f" &#177; {spread:.3f}" if (spread := _of(c).macro_f1_std) is not None else "")
        + "</td>"
        for c in shown
    )
    bars = "".join(f'<td class="track">{interval_bar(c.accuracy, *c.accuracy_ends)}</td>' for c in shown)
    table = (
        f'<table class="plain"><thead><tr>{head}</tr></thead><tbody>{rows}'
        f'<tr><th scope="row">mean</th>{means}</tr><tr><th scope="row">95 % interval</th>{bars}</tr>'
        f'<tr><th scope="row">macro F1</th>{f1}</tr></tbody></table>'
    )
    if kind == "seed":
        words = (
            "Everything random in training began anew with each seed; the split, and so the test images, stayed "
            f"the same. What is shown of single images below is that of the first, seed {repeats.trainings[0].number}."
        )
    else:
        words = (
            "Classes are spread evenly over the folds; groups and near-duplicates stay in one. What is shown of single "
            "images below is what the training said that had not seen them; how they learned is that of the first fold."
        )
    return f"<p>{words}</p>{markup.scroll_box('Trainings', table)}"


def _of(contestant: Contestant) -> Repeats:
    assert contestant.repeats is not None
    return contestant.repeats
