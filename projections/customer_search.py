"""Where to find a customer.

By number and by words of organisations' names, both from their beginning, former names included; by personal values
only whole.
"""

from datetime import date, tzinfo
from typing import Final

from projections.customer_search_values import token, values_of_query, words
from projections.customer_summaries import PARTS_IN_LISTS, CustomerSummary, summaries
from projections.read_model import Hash, Snapshot

QUERY_CHARACTERS_MAX: Final = 200
_AFTER_EVERY_CHARACTER: Final = "\U0010ffff"


async def search(  # noqa: PLR0913 - a query, how it is hashed, as of when, and which page
    snapshot: Snapshot, query: str, hash_of: Hash, valid_at: date, zone: tzinfo, *, after: str = "", limit: int
) -> list[CustomerSummary]:
    """Customers that have every word of a query in their name, or all of it as something that they are found by.

    They come in the order of their numbers, after a number. At most `QUERY_CHARACTERS_MAX` characters count.
    """
    query = query[:QUERY_CHARACTERS_MAX]
    values: dict[str, object] = {"position": snapshot.position, "after": after, "limit": limit}
    every_word = []
    for number, word in enumerate(words(query)):
        values |= {f"word_{number}": word, f"beyond_{number}": word + _AFTER_EVERY_CHARACTER}
        values |= {f"token_{number}": token(hash_of, "word", word)}
        every_word.append(_OF_WORD.replace("{n}", str(number)))
    whole = [(kind, token(hash_of, kind, value)) for kind, value in sorted(values_of_query(query))]
    values |= {"kinds": [kind for kind, _ in whole], "tokens": [hashed for _, hashed in whole]}
    values |= {"number": query.strip(), "beyond": query.strip() + _AFTER_EVERY_CHARACTER}
    intersection = " INTERSECT ".join(f"({each})" for each in every_word)
    found = await snapshot.fetch(
        """
        SELECT customer_id, customer_number, kind FROM {customers}
         WHERE customer_id IN ({matching}) AND customer_number > %(after)s AND position <= %(position)s
         ORDER BY customer_number LIMIT %(limit)s
        """,
        values,
        matching=" UNION ".join([*([f"({intersection})"] if intersection else []), _OF_WHOLE, _OF_NUMBER]),
        erased=snapshot.tables.erased_subjects,
    )
    return await summaries(snapshot, found, valid_at, zone, PARTS_IN_LISTS)


_KNOWN: Final = """
    position <= %(position)s AND (superseded_at_position IS NULL OR superseded_at_position > %(position)s)
    AND NOT EXISTS (SELECT FROM {erased} e WHERE e.subject_id = {tokens}.subject_id)"""
_OF_WORD: Final = f"""
    SELECT customer_id FROM {{words}}
     WHERE word >= %(word_{{n}})s AND word < %(beyond_{{n}})s AND position <= %(position)s
    UNION
    SELECT customer_id FROM {{tokens}} WHERE kind = 'word' AND token = %(token_{{n}})s AND {_KNOWN}"""
_OF_WHOLE: Final = f"""
    SELECT customer_id FROM {{tokens}}
     WHERE (kind, token) IN (SELECT * FROM unnest(%(kinds)s::text[], %(tokens)s::bytea[])) AND {_KNOWN}"""
_OF_NUMBER: Final = """
    SELECT customer_id FROM {customers}
     WHERE customer_number >= %(number)s AND customer_number < %(beyond)s AND %(number)s <> ''"""
