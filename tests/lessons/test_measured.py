from __future__ import annotations

from eyebright.lessons.measured import read_residuals, read_transfer


def test_the_networks_of_the_experiment_differ_in_their_shortcuts_alone() -> None:
    courses = read_residuals().courses
    by_depth: dict[int, set[int]] = {}
    for course in courses:
        by_depth.setdefault(course.depth, set()).add(course.parameters)
    assert sorted((course.depth, course.is_residual) for course in courses) == [
        (depth, is_residual) for depth in sorted(by_depth) for is_residual in (False, True)
    ]
    assert all(len(parameters) == 1 for parameters in by_depth.values())
    assert len({len(course.train_loss) for course in courses} | {len(course.test_accuracy) for course in courses}) == 1


def test_what_was_measured_of_transfer_is_whole() -> None:
    for task in read_transfer().tasks:
        counts = [row.per_class for row in task.rows]
        assert counts == sorted(counts)
        for row in task.rows:
            assert len(row.pixels) == len(row.embeddings) == 3
            assert all(0 < share < 1 for share in (*row.pixels, *row.embeddings))
