"""The folder of the metrics under `manage.py up`."""

from pathlib import Path

import pytest

from semantix.allinone import measurements


def test_the_folder_is_in_memory_and_only_this_account_can_read_it(tmp_path: Path) -> None:
    place = Path(measurements.prepare(tmp_path)["PROMETHEUS_MULTIPROC_DIR"])
    try:
        assert place.resolve().parent == measurements.MEMORY
        assert place.stat().st_mode & 0o077 == 0
        (place / "counter.db").write_text("1")
    finally:
        measurements.remove(tmp_path)
    assert not place.exists()
    assert not place.is_symlink()


def test_the_folder_of_a_killed_service_goes_at_the_next_start(tmp_path: Path) -> None:
    place = Path(measurements.prepare(tmp_path)["PROMETHEUS_MULTIPROC_DIR"])
    former = place.resolve()

    measurements.prepare(tmp_path)

    assert not former.exists()
    assert list(place.iterdir()) == []
    measurements.remove(tmp_path)


def test_without_such_a_place_it_is_in_the_data_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurements, "MEMORY", tmp_path / "not-there")

    place = Path(measurements.prepare(tmp_path)["PROMETHEUS_MULTIPROC_DIR"])

    assert place.resolve() == tmp_path / "metrics"
    measurements.remove(tmp_path)
    assert not place.exists()
