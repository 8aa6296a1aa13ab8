"""The beginning and the end of a process, as the ledger tells them, and the policy that it brings.

PCI DSS 10.2.1.6 wants the start and the stop of logging in the log itself. A process that could not
write its start down does not serve.
"""

from __future__ import annotations

from vault_service.domain.grounds import Policy
from vault_service.ledger.entries import Event
from vault_service.services.audit import Audit
from vault_service.services.ports import UnitOfWork


class Lifecycle:
    """The use case.

    Args:
        uow: the process's own database role.
        audit: makes the entries.
        policy: the policy in force.
        body: the policy file's text, kept for auditors; None where the role may not keep it.
        version: of the service.
        instance: name of this process among its likes.
    """

    def __init__(
        self,
        *,
        uow: UnitOfWork,
        audit: Audit,
        policy: Policy,
        body: str | None,
        version: str,
        instance: str,
    ) -> None:
        self._uow = uow
        self._audit = audit
        self._policy = policy
        self._body = body
        self._details = {"version": version, "instance": instance}

    def started(self) -> None:
        """Write the start down, and the policy if another was in force before.

        Raises:
            Unavailable: the database is.
        """
        with self._uow.begin() as tx:
            now = tx.clock.now()
            entries = self._audit.entries(
                Event.LOG_STARTED, "service", at=now, details=self._details
            )
            policy = self._policy
            if self._body is not None and tx.policies.adopt(
                policy.version, policy.name, self._body
            ):
                entries += self._audit.entries(
                    Event.POLICY_ADOPTED,
                    "service",
                    at=now,
                    policy=policy.version,
                    details={"name": policy.name, "dated": policy.dated.isoformat()},
                )
            tx.outbox.append(entries)

    def stopped(self) -> None:
        """Write the end down.

        Raises:
            Unavailable: the database is.
        """
        with self._uow.begin() as tx:
            tx.outbox.append(
                self._audit.entries(
                    Event.LOG_STOPPED, "service", at=tx.clock.now(), details=self._details
                )
            )
