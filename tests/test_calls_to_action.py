"""Calls to action told from plain talk."""

import pytest

from tiktok_ray.methods.text.calls_to_action import PATTERNS, appeals

SAID = {
    "follow": ["Follow me for more!", "like and follow", "Folge mir für mehr", "Folgt uns jetzt", "Lass gerne ein Abo da", "Follow @chef"],
    "subscribe": ["don’t forget to subscribe", "Abonniere meinen Kanal", "Subscribe to my channel"],
    "like": ["Smash that like button", "Lass einen Like da", "leave a like", "Like this video if you agree", "Lasst mir gerne einen Daumen da"],
    "comment": ["Comment below", "Schreib es mir in die Kommentare", "Tell me what you think in the comments", "Kommentiert eure Meinung", "Schreibt mir eure Meinung in die Kommentare"],
    "share": ["Share this with a friend", "Teile dieses Video", "tag a friend", "Markiere deine Freundin"],
    "save": ["Save this for later", "Speicher dir das Video"],
    "visit": ["Link in bio", "LINK IN DER BIO", "Swipe up", "Klick auf den Link", "Check out our shop", "Besuch uns auf der Messe"],
    "buy": ["Order now", "Jetzt kaufen!", "Use code SAVE20", "Bestell jetzt", "Hol dir jetzt deins", "Bestellen Sie jetzt"],
    "download": ["Download the app", "Lade dir die App herunter"],
    "sign up": ["Sign up today", "Melde dich jetzt an"],
    "watch more": ["Wait for it", "Bleib dran", "watch part 2", "Schau bis zum Ende"],
}  # fmt: skip
PLAIN = [
    "I follow him every day", "and then follow the steps", "Danach folgt der zweite Teil", "und folgt der Straße",
    "It looks like rain", "what would you like to eat", "It is like this and that", "THUMBS UP",
    "Er teilt das Brot", "die Teile liegen da", "he shares his food", "the tag on the shirt",
    "I want to save money", "Er speichert das Wasser", "Sie kaufen jetzt mehr als früher", "order in the court",
    "ich lade die Batterie", "we sign contracts", "ein Kommentar der Redaktion", "visit my grandmother",
    "STEP ONE", "LIP READING TEST", "bin blue at f two now", "Copyright (c) 2013 Brandon Castellano",
    "ask not what your country can do for you ask what you can do for your country",
]  # fmt: skip


@pytest.mark.parametrize(("action", "text"), [(a, t) for a, texts in SAID.items() for t in texts])
def test_a_call_to_action_is_found(action: str, text: str) -> None:
    assert action in {found.action for found in appeals(text.split())}


@pytest.mark.parametrize("text", PLAIN)
def test_plain_talk_is_none(text: str) -> None:
    assert appeals(text.split()) == []


def test_every_action_is_tried() -> None:
    assert set(SAID) == set(PATTERNS)


def test_the_words_that_ask_are_pointed_at() -> None:
    words = [
        "So",
        "that",
        "was",
        "it.",
        "Please",
        "follow",
        "me,",
        "and",
        "leave",
        "a",
        "comment",
        "below!",
    ]
    assert [(a.action, " ".join(words[a.first : a.last + 1])) for a in appeals(words)] == [
        ("follow", "Please follow me,"),
        ("comment", "leave a comment below!"),
    ]
    assert appeals([]) == []
