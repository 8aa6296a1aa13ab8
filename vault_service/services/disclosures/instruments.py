"""What officers say of the instrument of a request, to which its grant is held."""

from __future__ import annotations

from vault_service.domain.grounds import Policy
from vault_service.domain.instruments import Instrument, lacking
from vault_service.errors import InvalidInput, Problem
from vault_service.services.disclosure_ports import DisclosureRow
from vault_service.services.disclosures.rows import check_current
from vault_service.services.ports import Transaction


class DeterminationIncomplete(InvalidInput):
    """A determination lacks what the policy holds a grant to; `problems` names every piece."""

    code = "determination_incomplete"


def instrument_of(tx: Transaction, row: DisclosureRow) -> Instrument | None:
    """What an officer said of the instrument, where the request needs one."""
    if not row.determination_needed:
        return None
    return tx.instruments.of([(row.bucket, row.id)]).get(row.id)


def check_instrument(row: DisclosureRow, policy: Policy, instrument: Instrument | None) -> None:
    """Return if all is said of the instrument that the ground's determination must say.

    Raises:
        Conflict: the policy has changed.
        DeterminationIncomplete: something is missing; all of it is told at once.
    """
    check_current(row, policy)
    ground = policy.grounds[row.ground, row.category]
    binds = () if ground.determination is None else ground.determination.binds
    problems = tuple(
        Problem(code=each.code, pointer=pointer, detail=each.detail, clause=ground.clause)
        for each, pointer in lacking(instrument or Instrument(), binds)
    )
    if problems:
        raise DeterminationIncomplete(
            "a determination says of the instrument what a grant is held to", problems=problems
        )
