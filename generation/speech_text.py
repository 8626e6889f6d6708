"""Text as it is spoken: what `earmark say` reads and what the voice was trained on.

    spoken("Dr. Smith paid $12.50 at 10:05 am.")
        == "doctor smith paid twelve dollars and fifty cents at ten oh five a m."
    sentences(spoken(text))             # one utterance each, at most MAX_WORDS words

The result holds only a to z, apostrophes inside words, single spaces, and `, . ? !` at the end of words; it
ends in one of `. ? !`. Applied again it changes nothing, but for a sentence that ends in a word spelled like
an abbreviation ("nov."). Initials are spelled ("n f l"), quotation marks and what no Latin letter stands for
are dropped.
Not covered: words of other languages, e-mail and web addresses beyond their "at" and "dot", homographs
("read"), units other than the table's.
"""

import re
import unicodedata
from collections.abc import Callable

from generation import spoken_numbers as numbers

MAX_WORDS = 24
"""The longest training sentence; longer ones are cut at a comma, or failing that anywhere."""

MAX_LETTERS = 28
"""Of a word, as antidisestablishmentarianism has; what is longer is no word and is read in pieces."""

_TITLES = {
    "mr": "mister", "mrs": "missus", "ms": "miz", "dr": "doctor", "prof": "professor", "gen": "general",
    "col": "colonel", "capt": "captain", "lt": "lieutenant", "sgt": "sergeant", "rev": "reverend",
    "hon": "honorable", "jr": "junior", "sr": "senior", "vs": "versus", "etc": "et cetera",
    "inc": "incorporated", "ltd": "limited", "dept": "department", "approx": "approximately",
    "ave": "avenue", "blvd": "boulevard",
    "rd": "road", "mt": "mount", "ft": "feet", "jan": "january", "feb": "february", "aug": "august",
    "sept": "september", "oct": "october", "nov": "november", "dec": "december", "tues": "tuesday",
    "thurs": "thursday", "esq": "esquire",
}  # fmt: skip
"""Read so with a full stop behind, which goes; "etc" keeps the one that ends its sentence."""

_BARE_TITLES = frozenset({"mr", "mrs", "ms", "dr", "vs", "etc"})
"""Read so without a full stop, too: no word is spelled like them."""

_UNITS = {
    "km": "kilometers", "cm": "centimeters", "mm": "millimeters", "kg": "kilograms", "g": "grams",
    "lb": "pounds", "lbs": "pounds", "oz": "ounces", "ft": "feet", "mph": "miles per hour",
    "km/h": "kilometers per hour", "kph": "kilometers per hour", "mi": "miles", "hr": "hours",
    "hrs": "hours", "min": "minutes", "mins": "minutes", "sec": "seconds", "ml": "milliliters",
    "ghz": "gigahertz", "mhz": "megahertz", "khz": "kilohertz", "hz": "hertz", "gb": "gigabytes",
    "mb": "megabytes", "kb": "kilobytes", "°": "degrees", "°c": "degrees celsius",
    "°f": "degrees fahrenheit", "%": "percent",
}  # fmt: skip
_SAID_AS_WORDS = frozenset({"AIDS", "ASAP", "NASA", "NATO", "NAFTA", "RAM", "SIM", "PIN", "ZIP", "FAQ"})
_SYMBOLS = {"&": " and ", "@": " at ", "+": " plus ", "=": " equals ", "%": " percent ", "°": " degrees "}
_PUNCTUATION = str.maketrans({
    "‘": "'", "’": "'", "ʼ": "'", "`": "'", "“": " ", "”": " ", '"': " ", "«": " ", "»": " ", "*": " ",
    "_": " ", "—": ", ", "–": "-", "―": ", ", "…": ", ", "⁠": "", "(": ", ", ")": ", ", "[": ", ",
    "]": ", ", ";": ", ", "½": " 1/2", "¼": " 1/4", "¾": " 3/4",
})  # fmt: skip

Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]


def spoken(text: str) -> str:
    """The text in words; empty when it holds nothing that can be spoken."""
    text = _plain_letters(text)
    for pattern, replace in _RULES:
        text = _replace(pattern, replace, text)
    text = _initials(text)
    return _tidy(text.lower())


def sentences(normal: str) -> list[str]:
    """What `spoken` returned, cut into utterances of at most MAX_WORDS words, each ending in `. ? !`."""
    cut: list[str] = []
    for sentence in re.findall(r"[^.?!]+[.?!]", normal):
        words = sentence.split()
        while len(words) > MAX_WORDS:
            commas = [index for index, word in enumerate(words[:MAX_WORDS], 1) if word.endswith(",")]
            length = next((index for index in reversed(commas) if index >= MAX_WORDS // 3), MAX_WORDS)
            cut.append(" ".join(words[:length]).rstrip(",") + ".")
            words = words[length:]
        cut.append(" ".join(words))
    return cut


def _plain_letters(text: str) -> str:
    """Typography and accents to ASCII and the few signs that the rules read."""
    text = unicodedata.normalize("NFC", text).translate(_PUNCTUATION)
    kept = []
    for letter in unicodedata.normalize("NFKD", text):
        if letter.isascii() or letter in "£€°":
            kept.append(letter if letter.isprintable() else " ")
        elif not unicodedata.combining(letter):
            kept.append(" ")
    return re.sub(r"--+|\s-\s", ", ", "".join(kept))


def _replace(pattern: re.Pattern[str], say: Callable[[re.Match[str]], str], text: str) -> str:
    return pattern.sub(lambda match: f" {say(match)} ", text)


def _title(match: re.Match[str]) -> str:
    word = match[1].lower()
    return _TITLES[word] + ("." if word == "etc" and match[2] else "")


def _clock(match: re.Match[str]) -> str:
    half = (match[3] or "").replace(".", "").strip().lower()
    return numbers.clock(int(match[1]), int(match[2] or 0), half)


def _decade(match: re.Match[str]) -> str:
    number = int(match[1])
    return numbers.plural(numbers.year(number) if number >= 1000 else numbers.cardinal(number))


def _rule(pattern: str, replace: Callable[[re.Match[str]], str], *, cased: bool = False) -> Rule:
    return re.compile(pattern, 0 if cased else re.IGNORECASE), replace


_NUMBER = r"(\d[\d,]*\d(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)"
_HALF = r"([ap]\.?\s?m\b\.?)"
_LONGEST_FIRST = sorted(_UNITS, key=len, reverse=True)
_RULES: tuple[Rule, ...] = (
    # First, so that no rule below has a number that grows with the text: their time would with its square.
    _rule(r"(\.?)(\d[\d,]{30,})", lambda m: ("point " if m[1] else "") + numbers.digits(m[2])),
    _rule(r"https?://|\bwww\.", lambda _: ""),
    _rule(r"(?<=[a-z0-9])\.(?=(?:com|org|net|edu|gov|io)\b)", lambda _: "dot"),
    _rule(r"\be\.g\.", lambda _: "for example"),
    _rule(r"\bi\.e\.", lambda _: "that is"),
    _rule(r"\bno\.\s*(?=\d)|#\s*(?=\d)", lambda _: "number"),
    _rule(r"\b[Ss]t\.?\s+(?=[A-Z])", lambda _: "saint", cased=True),
    _rule(r"\bst\.", lambda _: "street"),
    _rule(rf"\b({'|'.join(_TITLES)})(\.)", _title),
    _rule(rf"\b({'|'.join(_BARE_TITLES)})()\b", _title),
    _rule(rf"([$£€])\s?{_NUMBER}(?:\s(million|billion|trillion|thousand)\b)?",
          lambda m: numbers.money(m[1], m[2], (m[3] or "").lower())),
    _rule(rf"\b(\d{{1,2}}):([0-5]\d)(?::[0-5]\d)?\s?{_HALF}?", _clock),
    _rule(rf"\b(\d{{1,2}})()\s?{_HALF}", _clock),
    _rule(r"\b(\d{2}|\d{4})'?s\b", _decade),
    _rule(r"\b([\d,]+)(?:st|nd|rd|th)\b", lambda m: numbers.ordinal(int(m[1].replace(",", "") or 0))),
    _rule(r"(?:\+?\d{1,3}[-. ])?\(?\b\d{3}\)?[-. ]\d{3}[-. ]\d{4}\b|\b\d{3}-\d{4}\b",
          lambda m: numbers.digits(m[0])),
    _rule(r"\b([1-9])/([2-9]|10)\b(?!/)", lambda m: numbers.fraction(int(m[1]), int(m[2]))),
    _rule(r"\b(\d+)-(?=\d+\b(?!-))", lambda m: f"{numbers.plain(m[1])} to"),
    _rule(rf"\b{_NUMBER}\s?({'|'.join(map(re.escape, _LONGEST_FIRST))})(?![a-z])",
          lambda m: f"{numbers.count(m[1])} {_UNITS[m[2].lower()]}"),
    _rule(rf"(?<![\w.])-{_NUMBER}", lambda m: f"minus {numbers.plain(m[1])}"),
    _rule(_NUMBER, lambda m: numbers.plain(m[1])),
    _rule(r"[&@+=%°]", lambda m: _SYMBOLS[m[0]]),
    _rule(r"(?<=[a-z])/(?=[a-z])", lambda _: "or"),
    _rule(r"\b(\w+)-(?=\w)", lambda m: m[1]),
    _rule(r"\bok\b", lambda _: "okay"),
)  # fmt: skip
"""In this order: each sees what the ones before have left."""


def _initials(text: str) -> str:
    """Spell "U.S.A.", "J. Smith" and "NFL"; read "VIII" as a number; leave a text that is shouted."""
    text = re.sub(r"\b(?:[A-Za-z]\.){2,}", lambda m: m[0].replace(".", " "), text)
    text = re.sub(r"\b([A-Z])\.(?=\s+[A-Z])", lambda m: m[0] if m[1] == "I" else m[1], text)
    words = re.findall(r"[A-Za-z]+", text)
    shouted = sum(word.isupper() and len(word) > 1 for word in words) > len(words) / 2 and len(words) > 2

    def spell(match: re.Match[str]) -> str:
        word, ending = match[1], "'s" if match[2] else ""
        number = numbers.roman(word)
        if number is not None and not ending:
            return numbers.cardinal(number)
        if shouted or word in _SAID_AS_WORDS or len(word) > 4:
            return match[0]
        return " ".join(word) + ending

    return re.sub(r"\b([A-Z]{2,})('?s)?\b", spell, text)


def _tidy(text: str) -> str:
    """Words and one mark behind each, at most; the strongest of several wins."""
    words: list[str] = []
    for piece in re.findall(rf"[a-z']{{1,{MAX_LETTERS}}}|[,.?!:]", text.replace("\n", " ")):
        if piece in ",.?!:":
            mark = "," if piece == ":" else piece
            if words and words[-1][-1] in ",.?!":
                kept = words[-1][-1] if words[-1][-1] != "," else mark
                words[-1] = words[-1][:-1] + kept
            elif words:
                words[-1] += mark
            continue
        word = piece.strip("'")
        if word:
            words.append(word)
    if words and words[-1][-1] not in ".?!":
        words[-1] = words[-1].rstrip(",") + "."
    return " ".join(words)
