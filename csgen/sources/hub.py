"""Data sets of the hub in the form of MTEB's retrieval tasks or of BSARD, as parallel collections.

Knows where the files come from (the hub, a folder, a URI) and how languages become one collection. hub_layout tells
what the files are, hub_tables how they are read.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import polars as pl

from csgen.errors import CsgenError, InputError
from csgen.files import filesystem, hash_file, join, open_input
from csgen.sources.collection import Description
from csgen.sources.hub_layout import CARD_NAME, Card, Table, list_tables, read_card
from csgen.sources.hub_tables import PASSAGE_COLUMNS, QUERY_COLUMNS, read_columns, read_judged, read_qrels, read_texts
from csgen.sources.streams import CollectionStream, OnError, Texts, Written, merge_qrels, write_stream

_HUB_ID = re.compile(r"([\w.-]+/[\w.-]+)(?:@(\S+))?")
_FORMS = (
    "expected tables of a corpus, of queries and of qrels (de-corpus, de-queries, de-qrels), or of a corpus and of "
    "questions with article_ids (de/corpus.csv, de/test.csv)"
)


@dataclass(frozen=True)
class Dataset:
    """The files of a data set. `locate` gives the path of a file by its name, and fetches it where need be."""

    origin: str  # as the user gave it, for errors
    name: str
    revision: str  # "": a folder, whose files are known by their hashes
    names: tuple[str, ...]
    locate: Callable[[str], str]

    def paths(self, table: Table) -> list[str]:
        if not table.names:
            raise InputError(f"{self.origin}: no file {table.place}, which {CARD_NAME} names")
        return [self.locate(name) for name in table.names]


@dataclass(frozen=True)
class Contents:
    """The tables of a data set, whose columns are known."""

    passages: dict[str, list[Table]]  # by language
    queries: dict[str, list[Table]]  # by language
    qrels: list[Table]
    judged_queries: list[Table]


def fetch_hub(source: str, output_folder: str, languages: tuple[str, ...] = (), on_error: OnError = "fail") -> Written:
    """Write the data set in `languages` (none: all that it has) as one parallel collection.

    `source` is OWNER/NAME or OWNER/NAME@REVISION of the hub, or a path that begins with / or . or a URI. Where the
    languages do not share their ids (`share_ids`), each id gets the prefix `LANGUAGE:`.
    """
    dataset = open_dataset(source)
    card = _read_card(dataset)
    contents = _sort_tables(dataset, _list_tables(dataset, card, languages))
    return write_stream(output_folder, _open_stream(dataset, card, contents), on_error)


def open_dataset(source: str) -> Dataset:
    """The data set of the hub, or that in a folder."""
    if source.startswith(("/", ".", "~")) or "://" in source:
        return _open_folder(source)
    match = _HUB_ID.fullmatch(source)
    if match is None:
        raise InputError(
            f"hub:{source}: expected OWNER/NAME or OWNER/NAME@REVISION; a folder's path begins with / or ./"
        )
    return _open_hub(match[1], match[2])


def _open_folder(path: str) -> Dataset:
    fs, inner = filesystem(path)
    if not fs.isdir(inner):
        raise InputError(f"hub:{path}: no such folder")
    names = tuple(sorted(name.removeprefix(inner).lstrip("/") for name in fs.find(inner)))
    name = inner.rstrip("/").rpartition("/")[2]
    return Dataset(f"hub:{path}", name, "", names, partial(join, path))


def _open_hub(repository: str, revision: str | None) -> Dataset:
    try:
        import huggingface_hub
        from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError
    except ImportError as error:
        raise InputError("hub needs huggingface_hub: pip install 'csgen[hub]'") from error
    origin = f"hub:{repository}"

    def locate(name: str) -> str:
        try:
            return str(huggingface_hub.hf_hub_download(repository, name, repo_type="dataset", revision=info.sha))
        except Exception as error:  # as below
            raise CsgenError(f"{origin}: cannot fetch {name}: {_first_line(error)}") from error

    try:
        info = huggingface_hub.HfApi().dataset_info(repository, revision=revision)
    except RepositoryNotFoundError as error:
        raise InputError(
            f"{origin}: no such data set of the hub, or not open to you (log in with hf auth login); a folder's path "
            f"begins with ./: hub:./{repository}"
        ) from error
    except RevisionNotFoundError as error:
        raise InputError(f"{origin}: no such revision {revision!r}") from error
    except Exception as error:  # the library lets through its HTTP client's errors, and has changed the client
        raise CsgenError(f"{origin}: the hub cannot be reached: {_first_line(error)}") from error
    names = tuple(sorted(file.rfilename for file in info.siblings))
    return Dataset(origin, repository, info.sha, names, locate)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _read_card(dataset: Dataset) -> Card:
    if CARD_NAME not in dataset.names:
        return Card((), "", ())
    path = dataset.locate(CARD_NAME)
    with open_input(path) as stream:
        return read_card(stream.read().decode(errors="replace"), path)


def _list_tables(dataset: Dataset, card: Card, languages: tuple[str, ...]) -> list[Table]:
    """The tables in the languages asked for (none: all), by language; qrels that are in no language at the end.

    Texts that are in no language by their names are in the card's, if it tells but one, or in the only one that other
    names tell. Where no name tells any, they may also be in the only language asked for.
    """
    tables = list_tables(dataset.names, card)
    named = {table.language for table in tables if table.kind != "qrels"} - {""}
    told = next((next(iter(some)) for some in (card.languages, named) if len(some) == 1), "")
    if not named and not told:
        told = languages[0] if len(languages) == 1 else ""
    if tables and not named and not told:
        raise InputError(f"{dataset.origin}: does not tell its language; give it with --languages")
    tables = [table if table.language or table.kind == "qrels" else replace(table, language=told) for table in tables]
    known = sorted({table.language for table in tables if table.kind != "qrels"} - {""})
    unknown = [language for language in languages if language not in known]
    if known and unknown:
        raise InputError(f"{dataset.origin}: --languages {','.join(unknown)}: there are {', '.join(known)}")
    chosen = [*(languages or known), ""]
    return sorted((table for table in tables if table.language in chosen), key=lambda one: chosen.index(one.language))


def _sort_tables(dataset: Dataset, tables: Sequence[Table]) -> Contents:
    contents = Contents({}, {}, [], [])
    for table in tables:
        kinds = _tell_kinds(dataset, table)
        if kinds & {"passages", "queries"} and not table.language:
            raise InputError(f"{dataset.origin}: does not tell the language of {table.place}")
        if "passages" in kinds:
            contents.passages.setdefault(table.language, []).append(table)
        if "queries" in kinds:
            contents.queries.setdefault(table.language, []).append(table)
        contents.qrels.extend([table] * ("qrels" in kinds))
        contents.judged_queries.extend([table] * ("judged queries" in kinds))
    qrels = contents.qrels or contents.judged_queries
    found = {"corpus": contents.passages, "queries": contents.queries, "qrels": qrels}
    if missing := [name for name, there in found.items() if not there]:
        places = ", ".join(table.place for table in tables) or ", ".join(dataset.names[:10]) or "nothing"
        raise InputError(f"{dataset.origin}: has no {' and no '.join(missing)}; {_FORMS}; found {places}")
    return contents


def _tell_kinds(dataset: Dataset, table: Table) -> set[str]:
    """What a table holds, told by its columns where its name does not tell; none: nothing of use."""
    if table.kind in ("passages", "qrels"):
        return {table.kind}
    columns = read_columns(dataset.paths(table)[0])
    if table.kind == "untold" and columns.are_qrels:
        return {"qrels"}
    if columns.are_judged_queries:
        return {"queries", "judged queries"}
    return {"queries"} if table.kind == "queries" else set()


def _open_stream(dataset: Dataset, card: Card, contents: Contents) -> CollectionStream:
    judged = _judge(dataset, contents)
    prefixed = len({*contents.queries, *contents.passages}) > 1 and not share_ids(judged)
    qrels: dict[str, list[pl.DataFrame]] = {}
    for table, rows in judged:
        ids = _prefix_ids(rows, ("query_id", "passage_id"), _prefix(table.language, prefixed))
        qrels.setdefault(table.split, []).append(ids)
    query_languages, passage_languages = tuple(contents.queries), tuple(contents.passages)
    source = f"hub {dataset.name}@{dataset.revision}" if dataset.revision else f"folder {dataset.name}"
    return CollectionStream(
        origin=dataset.origin,
        description=Description(
            name=dataset.name,
            languages=query_languages,
            passage_languages=passage_languages if passage_languages != query_languages else (),
            licence=card.licence or "unknown",
            source=source,
        ),
        queries=_texts(dataset, contents.queries, QUERY_COLUMNS, prefixed),
        passages=_texts(dataset, contents.passages, PASSAGE_COLUMNS, prefixed),
        qrels={split: merge_qrels(dataset.origin, parts) for split, parts in sorted(qrels.items())},
        inputs={"source": source} | ({} if dataset.revision else {"files": _hash_files(dataset, contents)}),
    )


def share_ids(judged: Sequence[tuple[Table, pl.DataFrame]]) -> bool:
    """Whether an id is one thing in every language, judging by the queries that several languages have by one id: half
    of them or more must have a passage in common to all their languages. Qrels of no language are for all of them.
    """
    languages = {table.language for table, _ in judged}
    if "" in languages or len(languages) == 1:
        return True
    rows = pl.concat([rows.with_columns(language=pl.lit(table.language)) for table, rows in judged])
    held = rows.group_by("query_id", "passage_id").agg(pl.col("language").n_unique())
    held = held.group_by("query_id").agg(most=pl.col("language").max())
    queries = rows.group_by("query_id").agg(pl.col("language").n_unique()).filter(pl.col("language") > 1)
    common = queries.join(held, on="query_id").select(pl.col("most") == pl.col("language")).to_series()
    return bool(common.sum() * 2 >= max(1, len(common)))


def _judge(dataset: Dataset, contents: Contents) -> list[tuple[Table, pl.DataFrame]]:
    readers = [(table, read_qrels) for table in contents.qrels]
    readers += [(table, read_judged) for table in contents.judged_queries]
    return [(table, pl.concat([read(path) for path in dataset.paths(table)])) for table, read in readers]


def _prefix(language: str, prefixed: bool) -> str:
    return f"{language}:" if prefixed else ""


def _prefix_ids(rows: pl.DataFrame, names: Sequence[str], prefix: str) -> pl.DataFrame:
    if not prefix:
        return rows
    return rows.with_columns(pl.concat_str(pl.lit(prefix), name).alias(name) for name in names)


def _texts(
    dataset: Dataset, tables: Mapping[str, Sequence[Table]], text_columns: Sequence[str], prefixed: bool
) -> dict[str, Texts]:
    return {
        language: partial(_read_tables, dataset, some, text_columns, _prefix(language, prefixed))
        for language, some in tables.items()
    }


def _read_tables(
    dataset: Dataset, tables: Sequence[Table], text_columns: Sequence[str], prefix: str
) -> Iterator[pl.DataFrame]:
    """The texts of one language. What a table of one split repeats of an earlier one is left out."""
    known = np.empty(0, np.uint64)
    for table in tables:
        seen = [known]
        for path in dataset.paths(table):
            for batch in read_texts(path, text_columns):
                hashes = batch["_id"].hash().to_numpy()
                seen.append(hashes)
                new = batch.filter(pl.Series(~np.isin(hashes, known))) if len(known) else batch
                yield _prefix_ids(new, ("_id",), prefix)
        known = np.concatenate(seen)


def _hash_files(dataset: Dataset, contents: Contents) -> dict[str, str]:
    texts = [table for tables in (*contents.passages.values(), *contents.queries.values()) for table in tables]
    names = sorted({name for table in (*texts, *contents.qrels) for name in table.names})
    return {name: hash_file(dataset.locate(name)) for name in names}
