"""Check digits and the rules of numbers that have none. Pure; texts as written, with the separators that people write."""

from __future__ import annotations

import ipaddress
import re

_DIGIT = re.compile(r"\d")
_LUHN_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)
_NPI_PREFIX = "80840"
"""Of health applications in the United States (ISO/IEC 7812); the number itself leaves it out."""
_BRANCHES = (*range(13), *range(21, 33), *range(61, 73), 80)
"""First two digits of routing numbers: Federal Reserve districts, thrifts, electronic ones, traveler's checks."""
_LARGE = 64
"""An octet that a version number hardly has."""


def digits(text: str) -> str:
    """The decimal digits of a text."""
    return "".join(_DIGIT.findall(text))


def luhn(number: str) -> bool:
    """Whether a string of digits ends in its Luhn check digit (ISO/IEC 7812-1)."""
    odd, even = number[::-1][::2], number[::-1][1::2]
    return (sum(map(int, odd)) + sum(_LUHN_DOUBLED[int(digit)] for digit in even)) % 10 == 0


def is_card(text: str) -> bool:
    """A payment card: 12 to 19 digits, Luhn, and not one digit over and over."""
    number = digits(text)
    return 12 <= len(number) <= 19 and len(set(number)) > 1 and luhn(number)


def is_iban(text: str) -> bool:
    """ISO 13616: the rearranged number is 1 modulo 97."""
    plain = text.replace(" ", "").upper()
    return 15 <= len(plain) <= 34 and int("".join(str(int(character, 36)) for character in plain[4:] + plain[:4])) % 97 == 1


def is_ssn(text: str) -> bool:
    """Nine digits that may be a social security number: not area 000, 666 or 9xx, no group 00, no serial 0000. A masked one is one."""
    number = digits(text)
    if len(number) == 4:
        return True
    return len(number) == 9 and number[:3] not in ("000", "666") and number[0] != "9" and number[3:5] != "00" and number[5:] != "0000"


def is_routing_number(text: str) -> bool:
    """ABA: a known branch, and the weights 3, 7, 1 give a multiple of ten."""
    number = [int(digit) for digit in digits(text)]
    if len(number) != 9 or number[0] * 10 + number[1] not in _BRANCHES or not any(number):
        return False
    return sum(weight * digit for weight, digit in zip((3, 7, 1) * 3, number, strict=True)) % 10 == 0


def is_npi(text: str) -> bool:
    """A National Provider Identifier: ten digits, the first 1 or 2, Luhn with the prefix 80840."""
    number = digits(text)
    return len(number) == 10 and number[0] in "12" and luhn(_NPI_PREFIX + number)


def is_network_address(text: str) -> bool:
    """IPv4 or IPv6, perhaps with a port or prefix length."""
    plain = text.split("/")[0]
    if "." in plain:
        plain = plain.split(":")[0]
    try:
        return bool(ipaddress.ip_address(plain))
    except ValueError:
        return False


def is_no_version(text: str) -> bool:
    """An address of a network that is no version number: one of its octets is large."""
    return is_network_address(text) and (":" in text or any(int(octet) >= _LARGE for octet in text.split("/")[0].split(".")))
