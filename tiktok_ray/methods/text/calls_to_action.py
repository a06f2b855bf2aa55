"""Calls to action in German and English: what a video asks its viewers to do.

A word that has a plain sense too ("I follow him", "it looks like") counts only in the company that
makes it a request.
"""

from __future__ import annotations

import re
from typing import NamedTuple

#: What is asked for, and how it is said. Patterns meet lower-case words with single spaces between.
PATTERNS: dict[str, tuple[str, ...]] = {
    "follow": (
        r"follow (?:me|us|along|for|back|this|our|my|the (?:page|account|channel)|@\w+)",
        r"(?:and|please|to|now|hit|like,?) follow(?! (?:him|her|them|it|you)\b)",
        r"give (?:me|us) a follow",
        r"folg(?:e|t|en sie)? (?:mir|uns|gerne?|jetzt|für|@\w+|diesem|dem|unserem|meinem)",
        r"(?:und|bitte|jetzt) folgt?(?: (?:mir|uns))?\b(?! (?:auf|aus|dann|ein|der|die|das)\b)",
        r"lass(?:t|en sie)? (?:mir|uns|gerne?)? ?(?:ein(?:en)? )?(?:follow|abo)\b",
    ),
    "subscribe": (
        r"(?:please|and|to|hit|now|don't forget to) subscribe",
        r"subscribe (?:to|for|now|here|if|and)",
        r"abonnier(?:e|t|en sie)?\b(?! hat)",
        r"(?:kanal|channel) abonnieren",
    ),
    "like": (
        r"(?:leave|drop|give) (?:me |us |it |this |the video )?a like",
        r"(?:hit|smash|press|tap|click) (?:that |the )?like",
        r"like (?:this|the|my|our) (?:video|post|page|clip|reel)",
        r"like(?:,| and| &) (?:follow|subscribe|share|comment)",
        r"give (?:it|this|me|us|the video) a thumbs up",
        r"double tap",
        r"like if (?:you|u)",
        r"lass(?:t|en sie)? (?:mir |uns |gerne? |doch )*(?:ein(?:en)? )?(?:like|daumen)",
        r"(?:liked?|liket) (?:das|dieses|mein|unser) (?:video|clip|post)",
        r"daumen (?:nach oben|hoch) (?:da|geben|wenn)",
    ),
    "comment": (
        r"(?:leave|drop|write) (?:me |us |it |your \w+ )?(?:a |your )?(?:comment|answer|\w+ in the comments?)",
        r"comment (?:below|down|your|if|what|which|and|the word)",
        r"(?:tell|let) (?:me|us) (?:know )?(?:what .{0,40} )?(?:in|down in) the comments?",
        r"let (?:me|us) know (?:below|what you think|in the)",
        r"kommentier(?:e|t|en sie)?\b",
        r"schreib(?:e|t|en sie)? (?:(?:es|mir|uns|gerne?|eure?|deine?|ihre?|\w+) ){0,4}(?:in|unter) (?:die|den|das) (?:kommentare?n?|video)",
        r"lass(?:t|en sie)? (?:mir |uns |gerne? )*(?:einen )?kommentar",
    ),
    "share": (
        r"share (?:this|it|the video|with|your)",
        r"send this to",
        r"(?:like|comment|and|please) (?:and )?share\b",
        r"tag (?:a|your|someone|somebody|the) ?\w*",
        r"teil(?:e|t|en sie) (?:gerne? )?(?:(?:das|dieses|diesen|den|mein|unser) (?:video|clip|post|beitrag|reel)|(?:es|das) mit )",
        r"(?:markier|verlink)(?:e|t|en sie)? (?:eine?n?|deine?n?|eure?n?|jemanden|uns|mich)",
        r"schick(?:e|t|en sie)? (?:das|dieses|es) (?:video )?(?:an )?(?:eine?[mnr]?|deine?[mnr]?|jemand)",
    ),
    "save": (
        r"save (?:this|the) (?:video|post|for|reel|recipe|one)",
        r"bookmark (?:this|it)",
        r"speicher(?:e|t|n sie)? (?:dir |euch |sich |(?:das|dieses|diesen|den) (?:video|clip|post|beitrag|reel|rezept))",
    ),
    "visit": (
        r"link (?:is )?(?:in|on) (?:the |my |our |your )?(?:bio|description|profile|comments)",
        r"link (?:ist )?(?:in|im) (?:der |meiner |unserer )?(?:bio|beschreibung|profil|kommentar\w*)",
        r"swipe (?:up|left|right)",
        r"wisch(?:e|t|en sie)? (?:nach )?(?:oben|links|rechts|hoch)",
        r"(?:click|tap) (?:on )?(?:the |this |here|below|that )(?:link|here|below)?",
        r"klick(?:e|t|en sie)? (?:hier|jetzt|auf|den|unten)",
        r"(?:visit|go to|head to|check out) (?:us\b|(?:our|my|the) (?:link|web ?site|shop|store|app|page|profile|channel|bio)|www|\w+\.(?:com|de|org|net))",
        r"besuch(?:e|t|en sie)? (?:uns|unsere?n?|mich|meine?n?)",
        r"schau(?:t|en sie)? (?:gerne? |doch )?(?:mal )?(?:bei (?:uns|mir)|auf (?:unserer|meiner)|vorbei)",
        r"find out more|learn more|mehr erfahren|jetzt entdecken|mehr (?:infos|informationen) (?:unter|auf|in|im)",
    ),
    "buy": (
        r"(?:buy|order|shop|book|get (?:yours|it|one)) (?:now|here|today|online)",
        r"shop (?:the|our|my) ",
        r"use (?:my |the |our )?(?:discount |promo )?code",
        r"(?:kauf|bestell|hol|buch|sicher)(?:e|t|en sie|n sie)? (?:(?:es|sie|ihn|dir|euch|ihnen|sich|deine?n?|eure?n?|das|die|den) )*(?:jetzt|hier|heute|online|gleich)",
        r"jetzt (?:kaufen|bestellen|buchen|sichern|zugreifen|holen|shoppen)",
        r"(?:mit (?:dem |meinem |unserem )?(?:rabatt)?code|rabattcode)",
    ),
    "download": (
        r"download (?:the|our|my|it|now|this)",
        r"get the app",
        r"install (?:the|our|it|now)",
        r"lad(?:e|et|en sie)? (?:(?:dir|euch|sich|die|das|den|unsere?|jetzt|app|es|sie) )+(?:herunter|runter|app)",
        r"jetzt (?:herunterladen|installieren|downloaden)",
    ),
    "sign up": (
        r"sign up|register (?:now|here|today|for)|join (?:now|us|today|the (?:community|waitlist|list))",
        r"start your free trial|try (?:it )?(?:for )?free",
        r"(?:melde?t?|melden sie) (?:dich|euch|sich) (?:jetzt |hier |gleich |noch heute )?(?:an\b|zum|für)",
        r"jetzt (?:anmelden|registrieren|mitmachen|bewerben|kostenlos testen)",
        r"registrier(?:e|t|en sie) (?:dich|euch|sich)",
    ),
    "watch more": (
        r"(?:watch|see|stay tuned for|wait for|check out|follow for|go to) (?:the )?part (?:\d+|two|three)",
        r"watch (?:until|till|to) the end|wait for it|stay tuned|keep watching",
        r"(?:schau(?:t|en sie)?|bleib(?:t|en sie)?) (?:\w+ ){0,3}(?:bis zum (?:ende|schluss)|dran)",
        r"teil (?:\d+|zwei|drei) (?:kommt|folgt|gibt)",
        r"watch (?:my|our|the) (?:other|next|full|last) ",
    ),
}  # fmt: skip

_ASKED = [(a, re.compile(rf"(?<!\w)(?:{p})")) for a, ways in PATTERNS.items() for p in ways]


class Appeal(NamedTuple):
    """A call to action within words: what it asks for, and the first and last word that say so."""

    action: str
    first: int
    last: int


def appeals(words: list[str]) -> list[Appeal]:
    """Calls to action in words, in order. One action is found once where its patterns overlap."""
    starts: list[int] = []
    text = ""
    for word in words:
        starts.append(len(text))
        text += re.sub(r"[^\w@.,&'#-]", "", word.lower().replace("’", "'")) + " "
    found: dict[tuple[str, int], Appeal] = {}
    plain = re.sub(r"[.,!?](?= )", " ", text)
    for action, pattern in _ASKED:
        for match in pattern.finditer(plain):
            first = sum(start <= match.start() for start in starts) - 1
            last = sum(start < match.end() for start in starts) - 1
            known = next(
                (
                    k
                    for k, a in found.items()
                    if k[0] == action and a.first <= last and a.last >= first
                ),
                None,
            )
            if known:
                old = found.pop(known)
                first, last = min(first, old.first), max(last, old.last)
            found[action, first] = Appeal(action, first, last)
    return sorted(found.values(), key=lambda a: (a.first, a.last, a.action))
