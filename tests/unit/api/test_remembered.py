"""What was parsed once stands while its source is the same, and not for ever many objects."""

from __future__ import annotations

from trimtab.domain.remembered import Remembered


def test_it_is_read_again_only_when_its_source_changes() -> None:
    read: list[str | None] = []

    def reading(before: str | None) -> str:
        read.append(before)
        return f"answer {len(read)}"

    known: Remembered[str] = Remembered(most=2)
    assert [known.known(("a",), 1, reading) for _ in range(3)] == ["answer 1"] * 3
    assert known.known(("a",), 2, reading) == "answer 2"
    assert known.known(("b",), 2, reading) == "answer 3"
    assert known.known(("c",), 2, reading) == "answer 4"  # one too many: the first is forgotten
    assert known.known(("a",), 2, reading) == "answer 5"
    assert read == [None, "answer 1", None, None, None]


def test_what_is_of_somebody_who_is_gone_is_forgotten() -> None:
    known: Remembered[int] = Remembered()
    for number in range(200):
        for trial in ("a", "b"):
            known.known((f"uid-{number}", trial), 1, lambda _, number=number: number)  # type: ignore[misc]
    known.keep_only({"uid-7", "uid-of-a-new-one"})
    assert len(known) == 2
    assert known.known(("uid-7", "b"), 1, lambda _: -1) == 7, "what is left still stands"
