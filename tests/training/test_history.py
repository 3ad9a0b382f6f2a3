from __future__ import annotations

from pathlib import Path

from eyebright.training.history import EpochRecord, read_history, save_history


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    records = (
        EpochRecord(phase="head", number=0.3, train_loss=0.25, val_loss=0.5, val_accuracy=0.75, seconds=1.5),
        EpochRecord(phase="epochs", number=0, train_loss=None, val_loss=0.1, val_accuracy=1.0, seconds=2.0),
    )
    save_history(tmp_path / "h.jsonl", records)
    assert read_history(tmp_path / "h.jsonl") == records
    assert len((tmp_path / "h.jsonl").read_text().splitlines()) == 2
