"""What was parsed once stands while its source is the same, and not for ever many objects."""

from __future__ import annotations

from trimtab.domain.remembered import Remembered


def test_it_is_read_again_only_when_its_source_changes() -> None:
    read: list[str | None] = []

    def reading(before: str | None) -> str:
        read.append(before)
        return f"answer {len(read)}"

    known: Remembered[str] = Remembered(most=2)
    assert [known.known("a", 1, reading) for _ in range(3)] == ["answer 1"] * 3
    assert known.known("a", 2, reading) == "answer 2"
    assert known.known("b", 2, reading) == "answer 3"
    assert known.known("c", 2, reading) == "answer 4"  # one too many: the first is forgotten
    assert known.known("a", 2, reading) == "answer 5"
    assert read == [None, "answer 1", None, None, None]
