"""The model card of a bundle: what a classifier is for, what it was trained on and how good it is, in Markdown.

In the form of Hugging Face: YAML between two lines of dashes, then text that a person reads and may complete.
Every name that a user chose is inert: whatever Markdown, HTML or YAML it holds is shown as it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from eyebright.bundle.manifest import Manifest
from eyebright.calibration.calibration import UNLIKE
from eyebright.errors import printable
from eyebright.evaluation.facts import NetworkFacts
from eyebright.evaluation.label_sets import AnyReport, LabelSetsReport
from eyebright.evaluation.report import EvaluationReport, percent, trust_in_words
from eyebright.evaluation.tables import NAMES
from eyebright.page import markup

CLASSES_SHOWN = 200
"""How many classes the table names; of more, the weakest."""
# All of ASCII's punctuation may follow a backslash; these can't begin anything in the middle of a line.
_HARMLESS = frozenset(",-' ")


def escape_markdown(name: str) -> str:
    """A name as inert Markdown on one line."""
    return "".join(f"\\{c}" if c.isascii() and not c.isalnum() and c not in _HARMLESS else c for c in printable(name))


def render_card(facts: NetworkFacts, report: AnyReport, manifest: Manifest) -> str:
    """The whole card.

    Args:
        facts: of the network.
        report: on the test images.
        manifest: of the bundle, with its provenance.
    """
    data = _table_of(manifest.provenance, "data")
    name = str(data.get("name", "images"))
    blocks = [
        _front_matter(facts, report, name),
        f"# {escape_markdown(facts.title)} for {escape_markdown(name)}",
        _purpose(facts, report),
        "## How good it is",
        *_results(report),
        "## How far to trust it",
        _trust(report, manifest),
        "## What it learned from",
        _data(data, report),
        "## How to use it",
        _use(manifest),
        "## How to get it again",
        _reproduction(facts, manifest),
    ]
    return "\n\n".join(blocks) + "\n"


def _front_matter(facts: NetworkFacts, report: AnyReport, data: str) -> str:
    """YAML; JSON's way of writing a text is one of YAML's."""
    metrics = [
        {"type": kind, "value": round(value, 4), "name": shown}
        for kind, shown, value in (
            [("mean_average_precision", "Mean average precision", report.mean_average_precision)]
            if isinstance(report, LabelSetsReport)
            else [("accuracy", "Accuracy", report.accuracy), ("f1", "Macro F1", report.macro_f1)]
        )
        if value is not None
    ]
    lines = [
        "---",
        "library_name: eyebright",
        "pipeline_tag: image-classification",
        f"tags: {_spelled(['image-classification', 'eyebright', facts.model])}",
        "model-index:",
        f"- name: {_quoted(f'{facts.title} for {data}')}",
        "  results:",
        "  - task:",
        "      type: image-classification",
        "    dataset:",
        f"      name: {_quoted(data)}",
        "      type: imagefolder",
        "      split: test",
        f"    metrics: {_spelled(metrics)}",
        "---",
    ]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return _spelled(printable(text))


def _spelled(value: Any) -> str:
    """In JSON with letters as they are: YAML does not put together the two halves that JSON escapes an emoji into."""
    return json.dumps(value, ensure_ascii=False)


def _purpose(facts: NetworkFacts, report: AnyReport) -> str:
    names = [escape_markdown(name) for name in report.class_names[:CLASSES_SHOWN]]
    more = len(report.class_names) - len(names)
    listed = ", ".join(names) + (f" and {more:,} more" if more else "")
    several = isinstance(report, LabelSetsReport)
    return (
        f"It says which of {markup.plural(len(report.class_names), 'class')} an image "
        f"{'shows; there may be several, or none' if several else 'is'}: {listed}.\n\n"
        "**Meant for** images like those it was trained on: the same kind of things, camera, place and time. "
        f"**Not meant for** anything else before that is measured (`eyebright evaluate`): whatever it is shown, it "
        f"answers with one of these classes. It was not examined for fairness between groups of people, and nothing "
        f"that can harm someone should rest on its answer alone.\n\n"
        f"{facts.sentence} It sees images of {facts.image_size} x {facts.image_size} pixels, has "
        f"{markup.amount(facts.parameters)} parameters. Where it started: {escape_markdown(facts.weights)}."
    )


def _results(report: AnyReport) -> list[str]:
    images = markup.plural(report.num_samples, "test image")
    words = f"Measured on {images} that took no part in training; intervals are 95 %."
    if isinstance(report, LabelSetsReport):
        overall = [
            (
                "mean average precision",
                report.mean_average_precision,
                report.mean_average_precision_low,
                report.mean_average_precision_high,
            ),
            ("every label right", report.exact_match, report.exact_match_low, report.exact_match_high),
            ("macro F1", report.macro_f1, None, None),
            ("micro F1", report.micro_f1, None, None),
        ]
        rows = [
            (
                escape_markdown(r.name),
                str(r.support),
                _number(r.average_precision, r.average_precision_low, r.average_precision_high),
                f"{r.threshold:.3f}",
                f"{r.f1:.3f}",
            )
            for r in sorted(report.per_class, key=lambda r: (r.average_precision or 0.0, r.name))
        ]
        columns = ("class", "images", "average precision", "threshold", "F1")
    else:
        overall = [
            ("accuracy", report.accuracy, report.accuracy_low, report.accuracy_high),
            ("top-5 accuracy", report.top5_accuracy, None, None),
            *(
                (NAMES.get(name, escape_markdown(name)), found.value, found.low, found.high)
                for name, found in report.measures.items()
            ),
        ]
        rows = [
            (
                escape_markdown(r.name),
                str(r.support),
                _number(r.precision, r.precision_low, r.precision_high),
                _number(r.recall, r.recall_low, r.recall_high),
                _number(r.f1, r.f1_low, r.f1_high),
            )
            for r in sorted(report.per_class, key=lambda r: (r.recall, r.name))
        ]
        columns = ("class", "images", "precision", "recall", "F1")
    table = _table(
        ("number", "value and interval"),
        [(name, _number(value, low, high)) for name, value, low, high in overall if value is not None],
    )
    by_class = _table(columns, rows[:CLASSES_SHOWN])
    return [words, table, "Class by class, the weakest first:", by_class]


def _number(value: float | None, low: float | None, high: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f} to {high:.3f})"


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _trust(report: AnyReport, manifest: Manifest) -> str:
    lines = []
    if isinstance(report, LabelSetsReport):
        lines.append("Probabilities are not calibrated: that is there for images of one label each.")
    elif report.trust is None:
        lines.append("Confidences were not calibrated, and no answer is called unsure.")
    else:
        trust = report.trust
        lines.append(
            f"Confidences are calibrated on {markup.plural(trust.calibrated_on, 'validation image')} (temperature "
            f"{trust.temperature:.3f}; calibration error {percent(trust.error_before)} before and "
            f"{percent(trust.error_after)} after, on the test images)."
        )
        lines.append(f"{_capital(trust_in_words(trust))}.")
        kept = (manifest.calibration or {}).get("sets")
        lines += [
            f"{percent(one.covered)} of the prediction sets hold the true class "
            f"({percent(one.coverage)} was promised); they have {one.mean_size:.2f} classes on the mean."
            for one in trust.sets
            if one.method == kept
        ]
        if trust.novelty_measured:
            lines.append(f'Images that resemble none of the training are called unsure, with the reason "{UNLIKE}".')
    if report.unreadable:
        lines.append(f"{markup.plural(len(report.unreadable), 'test image')} could not be read, counted as errors.")
    if isinstance(report, EvaluationReport):
        lines += [f"{escape_markdown(remark)}" for remark in report.remarks]
    lines.append(
        "All of this holds for images drawn as these were, on average over all of them; not for each class, and not "
        "for another camera, place or year."
    )
    return "\n".join(f"- {line}" for line in lines)


def _data(data: Mapping[str, Any], report: AnyReport) -> str:
    splits = ", ".join(f"{count:,} {split}" for split, count in _table_of(data, "splits").items())
    lines = [
        f"{escape_markdown(str(data.get('name', 'images')))}: {splits} images of "
        f"{markup.plural(len(report.class_names), 'class')}.",
        f"Fingerprint over names, labels and contents: `{_escape_code(str(data.get('fingerprint', 'not known')))}`.",
        "The images themselves are not in this folder. How they were collected and labelled, and whether they may be "
        "used, is for whoever passes this on to say here.",
    ]
    if data.get("unreadable"):
        lines.insert(1, f"{data['unreadable']:,} training or validation images could not be read and were left out.")
    return "\n".join(f"- {line}" for line in lines)


def _use(manifest: Manifest) -> str:
    answer = (
        "answer.labels" if manifest.several_labels else "answer.label, answer.confidence, answer.set, answer.unsure"
    )
    return (
        "With this folder as `bundle/`:\n\n"
        "```python\nimport eyebright as eb\n\n"
        'predictor = eb.load("bundle/")\nanswer = predictor.predict("new.jpg")\n' + answer + "\n```\n\n"
        "or `eyebright predict bundle/ new.jpg`. Preprocessing is part of it; no pickle is, and no code. "
        "`manifest.json` guards every file but this one, which may be edited."
    )


def _reproduction(facts: NetworkFacts, manifest: Manifest) -> str:
    provenance = manifest.provenance
    settings = _table_of(provenance, "settings")
    versions = ", ".join(f"{package} {version}" for package, version in _table_of(provenance, "versions").items())
    lines = [
        "`eyebright train DATA --settings settings.toml`, with the same images and the `settings.toml` of its run; all "
        "settings stand in `manifest.json`, too.",
        f"Seed {settings.get('seed', 'not known')}, effort {facts.effort}, "
        f"{markup.duration(facts.train_seconds)} of training, {provenance.get('created', 'date not known')}.",
        f"Machine: `{_escape_code(str(provenance.get('machine', 'not known')))}`.",
        f"Versions: `{_escape_code(versions)}`.",
    ]
    return "\n".join(f"- {line}" for line in lines)


def _escape_code(text: str) -> str:
    """A text between backticks: one line, no backtick."""
    return printable(text).replace("`", "'")


def _table_of(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = values.get(key)
    return found if isinstance(found, Mapping) else {}


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
