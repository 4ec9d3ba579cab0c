"""What looks like personal data, and what does not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from checks.grading.personal_data import KINDS, personal_data


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Write to j.doe+x@mail.company.co.uk today", "email"),
        ("Card 4539 1488 0343 6467 is valid", "card_number"),
        ("IBAN DE89 3704 0044 0532 0130 00, thanks", "iban"),
        ("SSN 219-09-9999", "us_social_security_number"),
        ("Call +44 207 946 0958 now", "phone_number"),
        ("Call (212) 736-5000 now", "phone_number"),
        ("Host 10.20.30.40 answers", "ip_address"),
    ],
)
def test_each_kind_is_found(text: str, kind: str) -> None:
    assert list(personal_data(text)) == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "Card 4539 1488 0343 6468 has a wrong check digit",
        "0000 0000 0000 0000",
        "see section 3.2.1 of version 10.2, pages 100-200",
        "In 1914-1918 and 1939",
        "someone@example.com or root@host.test",
        "Call 212-555-0142",
        "Use 127.0.0.1 or 192.0.2.7",
        "999.999.999.999",
        "2^10 = 1024, and 3,000,000 more",
    ],
)
def test_what_is_nobodys_is_left_alone(text: str) -> None:
    assert personal_data(text) == {}


def test_an_iban_with_wrong_check_digits_is_none() -> None:
    assert "iban" not in personal_data("DE88 3704 0044 0532 0130 00")


def test_a_card_number_is_no_telephone_number_as_well() -> None:
    assert set(personal_data("4539-1488-0343-6467 and 030 1234 5678")) == {"card_number", "phone_number"}


@given(st.text(max_size=300))
def test_any_text_can_be_searched(text: str) -> None:
    assert set(personal_data(text)) <= set(KINDS)


def test_hostile_text_is_searched_in_time() -> None:
    assert personal_data("a@" * 20_000 + "1 " * 20_000 + "A1" * 20_000) == {}
