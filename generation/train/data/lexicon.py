"""Which words are learned by their phones: all of the texts but those that are heard often enough as spelled.

A word that training speech says a hundred times is said by the voice as well as its codec allows, a rarer one
is not (docs/LOG.md, 2026-11-27). Phones are Flite's, whose voice is learned from; what it has none for, and
what has no vowel, which Flite spells out letter by letter, stays spelled.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from audio.durable import write_durably
from generation.pronunciation import PHONES, Pronunciations, packed
from generation.train.data.flite import Flite
from generation.train.data.sentences import OFTEN, bare


def write(texts: Iterable[str], said: Iterable[str], path: Path) -> None:
    """Write the table of the words of `texts`, less those said OFTEN in `said`."""
    times = Counter(word for text in said for word in bare(text).split())
    words = sorted({word for text in texts for word in bare(text).split() if times[word] < OFTEN})
    phones = {word: Flite.phones(word) for word in words}
    known = {word: found for word, found in phones.items() if _has_vowel(found) and set(found) <= set(PHONES)}
    write_durably(path, lambda file: file.write(packed(known)))


def _has_vowel(phones: Iterable[str]) -> bool:
    return any(phone[-1] in "01" for phone in phones)


def written(said: Iterable[str], pronunciations: Pronunciations) -> Iterator[str]:
    """Every word of `said` that is in the table, in its letters, as often as it is said: what the pieces of
    the vocabulary are chosen by."""
    for text in said:
        for word in bare(text).split():
            letters = pronunciations.written(word)
            if letters != word:
                yield letters
