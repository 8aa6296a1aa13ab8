"""Loads the sample into a first run's vault, once, through the interface like any billing system.

A mark in the state folder says that it is loaded. A load that was cut short is repeated from its
beginning and makes nothing twice: customers are found again by their reference, values by their
fingerprint. The sample goes from memory to the service: no file of the state holds a clear value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

from vault_service.cli.sample_data import SampleCustomer, generate
from vault_service.client import Client
from vault_service.embedded.files import write_private

_MARK: Final = "sample-loaded"
# Five records each at most, so that a batch stays below the interface's 1,000.
_CUSTOMERS_PER_BATCH: Final = 200


def load_sample(state: Path, credentials: Mapping[str, Any], *, tell: Callable[[str], None]) -> int:
    """Load the sample unless the mark says that it is loaded.

    Args:
        state: the state folder, which keeps the mark.
        credentials: the content of ``credentials.json``.
        tell: takes what people should read.

    Returns:
        How many values were loaded now.

    Raises:
        ClientError: the service refused or did not answer; the next start tries again.
    """
    mark = state / _MARK
    keys = [each["key"] for each in credentials["principals"] if each["name"] == "billing"]
    if mark.exists() or not keys:
        return 0
    tell("Loading the sample, once: a thousand made-up customers.")
    loaded = refused = 0
    with Client(credentials["base_url"], key=keys[0]) as client:
        for people in _groups():
            found = client.customers.batch([person.external_ref for person in people])
            items = [
                {
                    "class": record.data_class,
                    "customer": result.customer.id,
                    "value": record.value,
                    "reference": record.reference,
                }
                for person, result in zip(people, found, strict=True)
                if result.customer is not None
                for record in person.records
            ]
            results = client.tokens.batch(items)
            loaded += sum(result.token is not None for result in results)
            refused += sum(result.token is None for result in results)
    write_private(mark, "")
    words = f", {refused} were refused" if refused else ""
    tell(f"Loaded {loaded} values{words}.")
    return loaded


def _groups() -> Iterator[list[SampleCustomer]]:
    people = generate()
    while group := list(islice(people, _CUSTOMERS_PER_BATCH)):
        yield group
