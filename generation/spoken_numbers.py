"""Numbers as they are read aloud in American English: `cardinal(21)` is "twenty one".

Every function takes what its pattern in speech_text.py has matched and returns lower-case words without
hyphens or "and" ("one hundred five"). Not covered: Roman numerals beyond 39, scientific notation, other
languages.
"""

import re

_ONES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
)  # fmt: skip
_TENS = ("zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
_SCALES = ((10**12, "trillion"), (10**9, "billion"), (10**6, "million"), (1000, "thousand"), (100, "hundred"))
_LARGEST = 10**15
_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth", "nine": "ninth",
    "twelve": "twelfth",
}  # fmt: skip
_CURRENCIES = {"$": ("dollar", "cent"), "£": ("pound", "penny"), "€": ("euro", "cent")}
_DENOMINATORS = {2: "half", 4: "quarter"}
_ROMAN = {"I": 1, "V": 5, "X": 10}


def cardinal(number: int) -> str:
    """At least 0; from a thousand trillion on the digits are read one by one."""
    if number >= _LARGEST:
        return digits(str(number))
    if number < 20:
        return _ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return _TENS[tens] + (f" {_ONES[ones]}" if ones else "")
    scale, name = next((scale, name) for scale, name in _SCALES if number >= scale)
    head, rest = divmod(number, scale)
    return f"{cardinal(head)} {name}" + (f" {cardinal(rest)}" if rest else "")


def ordinal(number: int) -> str:
    """13 is "thirteenth"."""
    head, _, last = cardinal(number).rpartition(" ")
    if last in _ORDINALS:
        last = _ORDINALS[last]
    elif last.endswith("y"):
        last = last[:-1] + "ieth"
    else:
        last += "th"
    return f"{head} {last}".strip()


def plural(words: str) -> str:
    """ "nineteen ninety" is "nineteen nineties"."""
    return words[:-1] + "ies" if words.endswith("y") else words + ("es" if words.endswith("x") else "s")


def digits(text: str) -> str:
    """One by one, for telephone numbers and codes; what is no digit is skipped."""
    return " ".join(_ONES[int(digit)] for digit in text if digit in "0123456789")


def year(number: int) -> str:
    """1000 to 2099 as a year: 1984 is "nineteen eighty four", 1905 "nineteen oh five", 2005 "two thousand
    five"."""
    century, rest = divmod(number, 100)
    if century in (10, 20) and rest < 10:
        return cardinal(number)
    if not rest:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {two_digits(rest)}"


def two_digits(number: int) -> str:
    """Minutes and the end of a year: 5 is "oh five"."""
    return f"oh {_ONES[number]}" if number < 10 else cardinal(number)


def plain(text: str) -> str:
    """Digits as they are written: "1,250", "3.14", "007", "1984"; four digits that look like one are a
    year."""
    whole, point, decimals = text.replace(",", "").partition(".")
    if point:
        return f"{cardinal(int(whole or 0))} point {digits(decimals)}"
    if (len(whole) > 1 and whole[0] == "0") or len(whole) > 9:
        return digits(whole)
    looks_like_a_year = len(whole) == 4 and "," not in text and 1100 <= int(whole) <= 2099
    return year(int(whole)) if looks_like_a_year else cardinal(int(whole))


def count(text: str) -> str:
    """The same, of things: "1984 dollars" is no year."""
    return plain(text) if "." in text else cardinal(int(text.replace(",", "")))


def money(sign: str, amount: str, scale: str) -> str:
    """("$", "12.50", "") is "twelve dollars and fifty cents"; ("$", "2.5", "million") "two point five million
    dollars"."""
    unit, small = _CURRENCIES[sign]
    whole, _, cents = amount.replace(",", "").partition(".")
    if scale or len(cents) not in (0, 2):
        return f"{count(amount)} {scale} {unit}s".replace("  ", " ")
    parts = []
    if int(whole or 0) or not int(cents or 0):
        parts.append(_units(int(whole or 0), unit))
    if int(cents or 0):
        parts.append(_units(int(cents), small))
    return " and ".join(parts)


def _units(number: int, unit: str) -> str:
    if number == 1:
        return f"one {unit}"
    return f"{cardinal(number)} {'pence' if unit == 'penny' else unit + 's'}"


def clock(hour: int, minute: int, half: str) -> str:
    """(10, 5, "am") is "ten oh five a m"; (10, 0, "") "ten o'clock"."""
    spoken = cardinal(hour) + (f" {two_digits(minute)}" if minute else "" if half else " o'clock")
    return f"{spoken} {' '.join(half)}".strip()


def fraction(numerator: int, denominator: int) -> str:
    """3/4 is "three quarters"; denominators from 2 to 10."""
    part = _DENOMINATORS.get(denominator) or ordinal(denominator)
    if numerator == 1:
        return f"one {part}"
    return f"{cardinal(numerator)} {'halves' if part == 'half' else part + 's'}"


def roman(letters: str) -> int | None:
    """II to XXXIX; None for what is no Roman numeral or could be a word or a letter."""
    if not re.fullmatch(r"X{0,3}(?:IX|IV|V?I{0,3})", letters) or len(letters) < 2:
        return None
    values = [_ROMAN[letter] for letter in letters]
    following = [*values[1:], 0]
    return sum(-value if value < after else value for value, after in zip(values, following, strict=True))
