"""How far two languages are: whether they share a genus or a family, and the script that they are written in.

Genus and family as WALS Online has them (Dryer & Haspelmath 2013, https://wals.info); where WALS joins families that
Glottolog (https://glottolog.org) keeps apart, as Glottolog does: no Altaic, but Turkic and Mongolic. Knows no text.
"""

from csgen.languages import language_scripts, parse_language

# Genera and families rather than numbers: URIEL's typological vectors (lang2vec 1.1.2: 10 MB, and no distances in it)
# are under CC BY-SA 4.0, whose share-alike an Apache-2.0 project cannot take in. WALS and Glottolog: CC BY 4.0.
# A genus is Dryer's unit: languages whose kinship is plain, such as Romance. Codes are languages here, even where
# linguists count several as one (bs, hr, sr; nb, nn, no; hi, ur), and regions are not: pt-BR is pt.
_GENERA = {
    "Afro-Asiatic": {"Lowland East Cushitic": "so", "Semitic": "am ar he mt", "West Chadic": "ha"},
    "Austro-Asiatic": {"Khmer": "km", "Viet-Muong": "vi"},
    "Austronesian": {"Greater Central Philippine": "tl", "Malayo-Sumbawan": "id ms"},
    "Basque": {"Basque": "eu"},
    "Constructed": {"Esperanto": "eo"},  # in no family, for Glottolog: akin to nothing here
    "Dravidian": {"Dravidian": "kn ml ta te"},
    "Indo-European": {
        "Albanian": "sq",
        "Armenian": "hy",
        "Baltic": "lt lv",
        "Celtic": "cy ga",
        "Germanic": "af da de en is nb nl nn no sv",
        "Greek": "el",
        "Indic": "bn gu hi mr ne pa si ur",
        "Iranian": "fa ps",
        "Romance": "ca es fr gl it la pt ro",  # Latin stands with its daughters
        "Slavic": "be bg bs cs hr mk pl ru sk sl sr uk",
    },
    "Japanese": {"Japanese": "ja"},
    "Kartvelian": {"Kartvelian": "ka"},
    "Korean": {"Korean": "ko"},
    "Mongolic": {"Mongolic": "mn"},
    "Niger-Congo": {"Bantu": "sw xh zu", "Defoid": "yo"},
    "Sino-Tibetan": {"Burmese-Lolo": "my", "Chinese": "zh"},
    "Tai-Kadai": {"Kam-Tai": "lo th"},
    "Turkic": {"Turkic": "az kk tr uz"},
    "Uralic": {"Finnic": "et fi", "Ugric": "hu"},
}
_LINEAGES = {
    code: (family, genus)
    for family, genera in _GENERA.items()
    for genus, codes in genera.items()
    for code in codes.split()
}

DISTANCE_CLASSES = ("same language", "same genus", "same family", "other family")
DISTANCES = tuple(
    f"{kinship}{script}" for kinship in DISTANCE_CLASSES for script in ("", ", other script")
)  # from near to far


def language_family(code: str) -> str:
    """The family of a language, such as "Indo-European"; an isolate's is its own."""
    return _LINEAGES[_primary(code)][0]


def language_genus(code: str) -> str:
    """The genus of a language, such as "Romance"; a genus lies in one family."""
    return _LINEAGES[_primary(code)][1]


def main_script(code: str) -> str:
    """The ISO 15924 code of the script that tells a language's texts apart: the first of csgen.languages.

    Japanese counts as Hani, which it shares with Chinese; Serbian and Uzbek as Cyrl, unless the code says sr-Latn.
    """
    return language_scripts(code)[0]


def distance_class(left: str, right: str) -> str:
    """One of DISTANCE_CLASSES: the closest that holds of two languages, whichever comes first."""
    if _primary(left) == _primary(right):
        return DISTANCE_CLASSES[0]
    if language_genus(left) == language_genus(right):
        return DISTANCE_CLASSES[1]
    return DISTANCE_CLASSES[2 if language_family(left) == language_family(right) else 3]


def language_distance(left: str, right: str) -> str:
    """One of DISTANCES: the distance class, with ", other script" where the main scripts differ."""
    script = "" if main_script(left) == main_script(right) else ", other script"
    return distance_class(left, right) + script


def _primary(code: str) -> str:
    """The language of a code without script and region. Raises InputError for a code that is no language."""
    return parse_language(code).partition("-")[0]
