"""Languages: ISO 639-1 codes, the three-letter codes that data sets use for them, and English names.

Knows no text: it only tells which language a code or a name stands for, and which scripts it is written in.
"""

import difflib
import re
from dataclasses import dataclass

from csgen.errors import InputError


@dataclass(frozen=True)
class Language:
    code: str  # ISO 639-1
    code3: str  # ISO 639-2/T
    name: str  # in English
    others: tuple[str, ...] = ()  # ISO 639-2/B, and the ISO 639-3 code of the variety that data sets mean by it


LANGUAGES = tuple(
    Language(code, code3, name.replace("_", " "), tuple(others))
    for code, code3, name, *others in map(
        str.split,
        """
        af afr Afrikaans
        am amh Amharic
        ar ara Arabic arb
        az aze Azerbaijani azj
        be bel Belarusian
        bg bul Bulgarian
        bn ben Bengali
        bs bos Bosnian
        ca cat Catalan
        cs ces Czech cze
        cy cym Welsh wel
        da dan Danish
        de deu German ger
        el ell Greek gre
        en eng English
        eo epo Esperanto
        es spa Spanish
        et est Estonian ekk
        eu eus Basque baq
        fa fas Persian per pes
        fi fin Finnish
        fr fra French fre
        ga gle Irish
        gl glg Galician
        gu guj Gujarati
        ha hau Hausa
        he heb Hebrew
        hi hin Hindi
        hr hrv Croatian
        hu hun Hungarian
        hy hye Armenian arm
        id ind Indonesian
        is isl Icelandic ice
        it ita Italian
        ja jpn Japanese
        ka kat Georgian geo
        kk kaz Kazakh
        km khm Khmer
        kn kan Kannada
        ko kor Korean
        la lat Latin
        lo lao Lao
        lt lit Lithuanian
        lv lav Latvian lvs
        mk mkd Macedonian mac
        ml mal Malayalam
        mn mon Mongolian khk
        mr mar Marathi
        ms msa Malay may zsm
        mt mlt Maltese
        my mya Burmese bur
        nb nob Norwegian_Bokmål
        ne nep Nepali npi
        nl nld Dutch dut
        nn nno Norwegian_Nynorsk
        no nor Norwegian
        pa pan Punjabi
        pl pol Polish
        ps pus Pashto pbt
        pt por Portuguese
        ro ron Romanian rum
        ru rus Russian
        si sin Sinhala
        sk slk Slovak slo
        sl slv Slovenian
        so som Somali
        sq sqi Albanian alb als
        sr srp Serbian
        sv swe Swedish
        sw swa Swahili swh
        ta tam Tamil
        te tel Telugu
        th tha Thai
        tl tgl Tagalog
        tr tur Turkish
        uk ukr Ukrainian
        ur urd Urdu
        uz uzb Uzbek uzn
        vi vie Vietnamese
        xh xho Xhosa
        yo yor Yoruba
        zh zho Chinese chi cmn
        zu zul Zulu
        """.strip().splitlines(),
    )
)

_BY_CODE = {language.code: language for language in LANGUAGES}
_BY_ANY_NAME = {
    name.lower(): language
    for language in LANGUAGES
    for name in (language.code, language.code3, language.name, *language.others)
}
# What CLDR's likely subtags say, and the second script where a language is printed in two. The others: Latin.
_SCRIPTS = {
    language: tuple(scripts.split())
    for scripts, languages in {
        "Cyrl": "be bg kk mk mn ru uk",
        "Cyrl Latn": "sr uz",
        "Arab": "ar fa ps ur",
        "Deva": "hi mr ne",
        "Beng": "bn", "Ethi": "am", "Grek": "el", "Gujr": "gu", "Hebr": "he", "Armn": "hy", "Geor": "ka",
        "Khmr": "km", "Knda": "kn", "Laoo": "lo", "Mlym": "ml", "Mymr": "my", "Guru": "pa", "Sinh": "si",
        "Taml": "ta", "Telu": "te", "Thai": "th", "Hani": "zh", "Hani Hira Kana": "ja", "Hang Hani": "ko",
    }.items()
    for language in languages.split()
}  # fmt: skip
_JOINT_SCRIPTS = {"Hans": "Hani", "Hant": "Hani"}
_SUBTAGS = re.compile(r"(?:[-_]([A-Za-z]{4}))?(?:[-_]([A-Za-z]{2}|[0-9]{3}))?")


def parse_language(text: str) -> str:
    """The code of a language given by code or English name, in any case: "eng", "EN" and "English" are "en".

    A script and a region stay, as BCP 47 writes them: "pt_br" is "pt-BR", "zho-hant" is "zh-Hant".
    """
    wanted = text.strip().lower()
    if language := _BY_ANY_NAME.get(wanted):
        return language.code
    primary = re.match("[a-z]*", wanted)
    head = primary.group() if primary else ""
    subtags = _SUBTAGS.fullmatch(wanted[len(head) :])
    if subtags and len(head) in (2, 3) and head in _BY_ANY_NAME:
        script, region = subtags.groups()
        tags = [_BY_ANY_NAME[head].code, script and script.title(), region and region.upper()]
        return "-".join(tag for tag in tags if tag)
    raise InputError(f"unknown language {text!r}: {_suggest(wanted)}")


def language_name(code: str) -> str:
    """The English name of a language, with its region or script if the code has one: "Portuguese (BR)"."""
    primary, _, variant = parse_language(code).partition("-")
    name = _BY_CODE[primary].name
    return f"{name} ({variant})" if variant else name


def three_letter_code(code: str) -> str:
    """The ISO 639-2/T code, which Tatoeba, FLORES and FreeDict use."""
    return _BY_CODE[parse_language(code).partition("-")[0]].code3


def language_scripts(code: str) -> tuple[str, ...]:
    """The ISO 15924 codes of the scripts that a language is written in; the one that the code itself names, if any."""
    primary, *variants = parse_language(code).split("-")
    named = next((variant for variant in variants if len(variant) == 4), None)
    return (_JOINT_SCRIPTS.get(named, named),) if named else _SCRIPTS.get(primary, ("Latn",))


def _suggest(wanted: str) -> str:
    near = [_BY_ANY_NAME[name] for name in difflib.get_close_matches(wanted, _BY_ANY_NAME, n=3, cutoff=0.6)]
    if not near:
        return "expected an ISO 639 code or an English name, such as de, deu or German"
    return "did you mean " + " or ".join(dict.fromkeys(f"{one.code} ({one.name})" for one in near)) + "?"
