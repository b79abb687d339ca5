"""A parallel collection of a few lines, for the tests of the evaluation."""

import json

TEXTS = {
    "en": ["the red house", "a green garden", "the old bridge", "a cold river"],
    "de": ["das rote Haus", "ein grüner Garten", "die alte Brücke", "ein kalter Fluss"],
    "it": ["la casa rossa", "un giardino verde", "il vecchio ponte", "un fiume freddo"],
}
QUERIES = {
    "en": ["house", "garden", "bridge", "river"],
    "de": ["Haus", "Garten", "Brücke", "Fluss"],
    "it": ["casa", "giardino", "ponte", "fiume"],
}


def write_collection(folder, languages=("en", "de", "it"), lacking=(), qrels=None):
    """Passages p0-p3, queries q0-q3 with one relevant passage each; `lacking` has (language, number) of no passage."""
    for language in languages:
        (folder / language).mkdir(parents=True)
        for kind, texts in (("passages", TEXTS), ("queries", QUERIES)):
            lines = [
                json.dumps({"_id": f"{kind[0]}{number}", "text": text})
                for number, text in enumerate(texts[language])
                if kind == "queries" or (language, number) not in lacking
            ]
            (folder / language / f"{kind}.jsonl").write_text("\n".join(lines) + "\n")
    (folder / "qrels").mkdir()
    judged = qrels or [(f"q{number}", f"p{number}", 1) for number in range(4)]
    lines = ["query-id\tcorpus-id\tscore", *("\t".join(map(str, row)) for row in judged)]
    (folder / "qrels/test.tsv").write_text("\n".join(lines) + "\n")
    described = {"name": "toy", "languages": languages, "licence": "none", "source": "written here"}
    (folder / "collection.json").write_text(json.dumps(described))
    return str(folder)
