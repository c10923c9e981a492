"""A campaign that was interrupted goes on where it was; another version of the code begins anew."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.parts import Part, Parts, code_digest, played

WORKS = {"a": 2, "b": 3, "c": 4}


def square(number: int) -> int:
    return number * number


class Interrupted(Exception):
    """Somebody pressed Ctrl-C."""


def parts(folder: Path, version: str = "v1", *, afresh: bool = False) -> Parts[int]:
    return Parts(folder, version, afresh=afresh)


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_part_is_played_once(tmp_path: Path, jobs: int) -> None:
    first = list(played(parts(tmp_path), WORKS, square, jobs))
    assert sorted(p.value for p in first) == [4, 9, 16]
    assert not any(p.kept for p in first)
    again = list(played(parts(tmp_path), WORKS, square, jobs))
    assert again == [Part(p.value, p.seconds, kept=True) for p in sorted(first, key=lambda p: p.value)]


def test_what_was_played_before_an_interruption_is_kept(tmp_path: Path) -> None:
    asked: list[int] = []

    def until_three(number: int) -> int:
        asked.append(number)
        if number == 3:
            raise Interrupted
        return square(number)

    with pytest.raises(Interrupted):
        list(played(parts(tmp_path), WORKS, until_three, 1))
    assert [(p.value, p.kept) for p in played(parts(tmp_path), WORKS, square, 1)] == [
        (4, True),
        (9, False),
        (16, False),
    ]
    assert asked == [2, 3]


def test_another_version_or_a_wish_begins_anew(tmp_path: Path) -> None:
    list(played(parts(tmp_path), WORKS, square, 1))
    assert not any(p.kept for p in played(parts(tmp_path, "v2"), WORKS, square, 1))
    assert not any(p.kept for p in played(parts(tmp_path, afresh=True), WORKS, square, 1))
    assert all(p.kept for p in played(parts(tmp_path, "v2"), WORKS, square, 1))


@pytest.mark.parametrize("content", [b"", b"half of it", b"\x80\x04N.", b"\x80\x04cnowhere\nnothing\n."])
def test_a_part_that_cannot_be_read_is_played_again(tmp_path: Path, content: bytes) -> None:
    list(played(parts(tmp_path), WORKS, square, 1))
    (tmp_path / "v1" / "b.pickle").write_bytes(content)
    assert [(p.value, p.kept) for p in played(parts(tmp_path), WORKS, square, 1)] == [(4, True), (16, True), (9, False)]


def test_the_version_follows_the_code(tmp_path: Path) -> None:
    source = tmp_path / "operator" / "trimtab" / "a.py"
    source.parent.mkdir(parents=True)
    source.write_text("A = 1\n")
    before = code_digest(tmp_path)
    assert code_digest(tmp_path) == before
    source.write_text("A = 2\n")
    assert code_digest(tmp_path) != before
    source.rename(source.with_name("b.py"))
    assert code_digest() != code_digest(tmp_path)
