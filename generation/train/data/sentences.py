"""Which sentences are spoken, and which are kept out of everything that is trained on.

Prose, single requests and the turns of dialogues, normalised and cut into utterances of 3 to 24 words, in an
order that depends only on the lines and on a name. Held out: the 100 sentences of the recorded voice whose
hash is smallest, so that there is a recording of each to compare with; a line that contains one of them is
not used, whoever would speak it. Files: text/prose.txt.xz, text/queries.txt.xz (a sentence a line) and
text/dialogues.jsonl.xz ({"turns": [{"text": …}]}).
"""

import hashlib
import json
import lzma
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from generation.errors import TrainingDataError
from generation.speech_text import sentences, spoken

NUM_HELD_OUT = 100
_FEWEST_WORDS = 3
OFTEN = 100  # times that a word is heard by then as well as it will be
_RARE_SHARE = 0.4


def bare(text: str) -> str:
    """A normal text without its marks: what two sentences are compared by."""
    return " ".join(word.rstrip(",.?!") for word in text.split())


def digest(*names: str) -> int:
    """64 bits that depend on nothing but the names: for orders and seeds."""
    return int.from_bytes(hashlib.sha256("/".join(names).encode()).digest()[:8], "big")


def held_out(normal_texts: Iterable[str], count: int = NUM_HELD_OUT) -> list[str]:
    """The sentences that nothing is trained on, of a voice's transcripts as `spoken` returns them."""
    by_words = {bare(text): text for text in normal_texts}
    chosen = sorted(by_words, key=lambda words: digest("held-out", words))[:count]
    return [by_words[words] for words in chosen]


def rarely_said(texts: Iterable[str], said: Iterable[str]) -> Iterator[str]:
    """Of these texts, those in which two words of five have not been said a hundred times yet.

    `said`: bare texts; what is chosen counts as said from then on. How a word is pronounced is learned by
    hearing it (docs/LOG.md, 2026-11-27).
    """
    known = set(said)
    times = Counter(word for text in known for word in text.split())
    for text in texts:
        words = bare(text).split()
        rare = sum(times[word] < OFTEN for word in words)
        if rare >= _RARE_SHARE * len(words) and " ".join(words) not in known:
            times.update(words)
            yield text


class Texts:
    """The lines of a corpus folder, read once."""

    def __init__(self, corpus: Path, excluded: Iterable[str] = ()) -> None:
        """`excluded` are normal texts. Raises TrainingDataError when the folder has no such files."""
        self._excluded = [bare(text) for text in excluded]
        folder = corpus / "text"
        try:
            self._sources = {
                "prose": _lines(folder / "prose.txt.xz"),
                "queries": _lines(folder / "queries.txt.xz"),
                "turns": [
                    turn["text"]
                    for line in _lines(folder / "dialogues.jsonl.xz")
                    for turn in json.loads(line)["turns"]
                ],
            }
        except (OSError, lzma.LZMAError, ValueError, KeyError, TypeError) as exc:
            raise TrainingDataError(f"{folder} does not hold the training texts: {exc}") from exc

    def stream(self, name: str) -> Iterator[str]:
        """Utterances without repetition, one source after the other in turn, in the order of `name`."""
        queues = [
            iter(sorted(set(lines), key=lambda line: digest(name, line))) for lines in self._sources.values()
        ]
        seen: set[str] = set()
        while queues:
            for queue in tuple(queues):
                line = next(queue, None)
                if line is None:
                    queues.remove(queue)
                    continue
                for sentence in sentences(spoken(line)):
                    words = bare(sentence)
                    if (
                        words.count(" ") + 1 >= _FEWEST_WORDS
                        and words not in seen
                        and not self._is_held_out(words)
                    ):
                        seen.add(words)
                        yield sentence

    def _is_held_out(self, words: str) -> bool:
        return any(kept in words for kept in self._excluded)


def _lines(path: Path) -> list[str]:
    with lzma.open(path, "rt", encoding="utf-8") as file:
        return [line.strip() for line in file if line.strip()]
