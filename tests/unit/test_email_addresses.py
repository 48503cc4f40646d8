"""The one form of an e-mail address: however it was typed, one person has one."""

import unicodedata

import pytest

from seeders.canonical_email import ADDRESS_MAX, canonical_email, comparable, other_spellings

ANA = "ana@bücher.example"
SPELLINGS = {
    "ana@example.com": ["ana@example.com", " Ana@EXAMPLE.com\t", "\u00a0ANA@example.COM\n", "ana@ｅｘａｍｐｌｅ.com"],
    ANA: ["ana@BÜCHER.example", "Ana@xn--bcher-kva.example", "ANA@XN--BCHER-KVA.EXAMPLE", "ana@bu\u0308cher.example"],
    "josé@example.com": ["jose\u0301@example.com", "JOSE\u0301@example.com", "JOSÉ@example.com"],
    "a.n.a+tag@example.com": ["A.N.A+Tag@example.com"],
    "σας@παράδειγμα.ελ": ["ΣΑΣ@ΠΑΡΆΔΕΙΓΜΑ.ΕΛ", "ΣΑΣ@xn--hxajbheg2az3al.xn--qxam"],
    "x@例え.テスト": ["x@例え。テスト", "x@xn--r8jz45g.xn--zckzah", "x@例え｡テスト"],
    "o'neil_x-y@mail.some_host.example": ["O'Neil_X-Y@mail.some_host.example"],
    "i\u0307@example.com": ["\u0130@example.com"],
}
DOMAINS = [
    "пример.рф", "παράδειγμα.ελ", "مثال.السعودية", "דוגמה.ישראל", "उदाहरण.भारत", "উদাহরণ.বাংলা", "ตัวอย่าง.ไทย",
    "例子.中国", "例え.日本", "실례.한국", "მაგალითი.გე", "օրինակ.հայ", "ምሳሌ.ኢትዮጵያ", "உதாரணம்.இந்தியா", "උදාහරණ.ලංකා",
    "straße.de", "københavn.dk", "žluťoučký.cz", "đặng.vn", "نامه\u200cای.ایران",
]  # fmt: skip
UNSEEN = [
    "\u200b", "\u200c", "\u200d", "\ufeff", "\u2060", "\u00ad", "\u180e", "\u202a", "\u202e", "\u2066", "\u2069",
    "\u200e", "\u061c", "\u034f", "\u115f", "\u3164", "\uffa0", "\u2800", "\ufe0f", "\U000e0041", "\U000e0100", "\x00",
    "\x07", "\x1b", "\x7f", "\x85", "\n", "\t", "\u00a0", "\u3000", "\u2028",
]  # fmt: skip


@pytest.mark.parametrize(("canonical", "typed"), [(one, text) for one, texts in SPELLINGS.items() for text in texts])
def test_one_person_has_one_address(canonical: str, typed: str) -> None:
    """Letters, case, form of Unicode and form of the domain do not matter, and what is canonical stays."""
    assert canonical_email(typed) == canonical
    assert canonical_email(canonical) == canonical
    assert unicodedata.is_normalized("NFC", canonical)


@pytest.mark.parametrize("domain", DOMAINS)
def test_domains_in_every_script(domain: str) -> None:
    """Each is taken, kept as people read it, and the same in the letters of its A-labels."""
    address = canonical_email(f"ana@{domain}")
    assert address == f"ana@{unicodedata.normalize('NFC', domain)}"
    spellings = other_spellings(address)
    assert sum(spelling.isascii() for spelling in spellings) == 1, "the one in A-labels"
    for spelling in spellings:
        assert canonical_email(spelling.upper() if spelling.isascii() else spelling) == address


def test_other_spellings() -> None:
    """Those that rows of others may have; of an address in ASCII there is none."""
    assert other_spellings("ana@example.com") == []
    assert other_spellings("josé@example.com") == ["jose\u0301@example.com"]
    assert set(other_spellings(ANA)) == {"ana@xn--bcher-kva.example", "ana@bu\u0308cher.example"}


@pytest.mark.parametrize("unseen", UNSEEN, ids=ascii)
@pytest.mark.parametrize("around", ["an{}a@example.com", "{}ana@example.com", "ana@exam{}ple.com", "ana@b{}ü.example"])
def test_what_cannot_be_seen_is_refused(around: str, unseen: str) -> None:
    """Two addresses that look the same would be two people; the sentence says which character, and where."""
    if around.startswith("{}") and unseen.isspace():
        assert canonical_email(around.format(unseen)) == "ana@example.com"
        return
    with pytest.raises(ValueError, match="cannot be seen") as refused:
        canonical_email(around.format(unseen))
    assert f"U+{ord(unseen):04X}" in str(refused.value)
    assert str(refused.value).isprintable()
    assert "ana" not in str(refused.value)


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("Ana <ana@example.com>", "a name or < > around it"), ('"Ana Silva" <ana@example.com>', "a name or < >"),
        ("<ana@example.com>", "a name or < >"), ("ana@example.com (Ana)", "a comment in ( )"),
        ("mailto:ana@example.com", "with a colon"), ("Ana: ana@example.com", "with a colon"),
        ("ana@example.com, bob@example.com", "several"), ("ana@example.com;bob@example.com", "several"),
        ("ana@example.com bob@example.com", "several"), ("'ana@example.com'", "in quotes"), ("ana@example.com.", "dot"),
        ("ana \uff20example.com", "a full-width @"), ("ana silva@example.com", "a space at character 4"),
        ("ana@ example.com", "a space at character 5"), ("ana@exam ple.com", "a space at character 9"),
        ("ana@example,com", "a , after the @"), ("ana@example.com/x", "a / after the @"), ("a@x.org>", "a > after"),
    ],
)  # fmt: skip
def test_what_people_copy_with_an_address_is_named(typed: str, why: str) -> None:
    """A name, a second address, a space: each in words, not as a letter that cannot be seen; without the address."""
    with pytest.raises(ValueError, match="is not an e-mail address") as refused:
        canonical_email(typed)
    assert why in str(refused.value)
    assert "cannot be seen" not in str(refused.value)
    assert "example.com" not in str(refused.value)
    assert "silva" not in str(refused.value).lower()


@pytest.mark.parametrize("typed", ["o'brien@example.com", "'tis@example.com", "a{b}@example.com", "a/b@example.com"])
def test_what_looks_like_a_mistake_and_is_an_address(typed: str) -> None:
    """The patterns of mistakes refuse no valid address."""
    assert canonical_email(typed) == typed


@pytest.mark.parametrize(
    "typed",
    [
        "", "@", "ana", "ana@", "@example.com", "ana@localhost", "a@b@example.com", '"a b"@example.com',
        "ana@[127.0.0.1]", "ana@example..com", "ana@.example.com", "ana@-a.example", "ana@a-.example", "a@example.com.",
        "ana@xn--.example", "ana@xn--a.example", "ana@xn--zzzzz-.example", "ana@bü_cher.example", "ana@💩.example",
        f"{'a' * 65}@example.com", f"ana@{'a' * 64}.example", f"ana@{'ü' * 60}.example", f"a@{'a.' * 126}example",
        "a@" + "a-" * 20_000, "a,b@x.org",
        "ana@exa mple.com", "ana@ex/ample.com", "ana@℀.example", "ana@٣a.example",
    ],
)  # fmt: skip
def test_what_is_no_address(typed: str) -> None:
    """It is refused in one sentence, which does not quote it, and at once."""
    with pytest.raises(ValueError, match=r"is not an e-mail address|cannot be seen") as refused:
        canonical_email(typed)
    assert len(str(refused.value)) < 160


def test_lengths() -> None:
    """As long as mail allows, and no longer."""
    local, domain = "a" * 64, "b" * 60 + "." + "c" * 60 + "." + "d" * 60 + ".ee"
    longest = f"{local}@{domain}"
    assert canonical_email(longest) == longest
    assert len(longest) <= ADDRESS_MAX


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (" Ana@xn--BCHER-kva.example", ANA),
        ("Ana@", "ana@"),
        ("  Sunny Meadow ", "sunny meadow"),
        ("ana@exam", "ana@exam"),
    ],
)
def test_what_is_sought_or_old_is_compared_as_it_can_be(text: str, wanted: str) -> None:
    """A whole address in its one form; part of one, or what an old row has instead, in lower case."""
    assert comparable(text) == wanted
