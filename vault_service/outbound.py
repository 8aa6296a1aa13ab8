"""The way out: the only module that opens connections to addresses other than Vault's and SQL's.

To receivers of webhooks: one POST, one connection, one answer. No redirect is followed, no proxy of
the environment is used, no cookie kept, and of the answer nothing but the status is read. To the
mail relay: one message, one connection.
"""

from __future__ import annotations

import http.client
import smtplib
import socket
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from vault_service.errors import Unavailable
from vault_service.services.mail_answers import RelayRefused
from vault_service.services.webhook_ports import SendFailed

# Seconds for each step: connecting, TLS, a piece of the answer.
STEP_S: Final = 5.0
# Seconds for all of it, for a receiver that answers one byte at a time.
WHOLE_S: Final = 15.0


class HttpSender:
    """`webhook_ports.Sender` over HTTP. Thread-safe.

    Args:
        ca_file: certificates of authorities to trust instead of the system's.
        step: seconds for each step.
        whole: seconds for all of it.
    """

    def __init__(
        self, *, ca_file: Path | None = None, step: float = STEP_S, whole: float = WHOLE_S
    ) -> None:
        self._tls = ssl.create_default_context(cafile=str(ca_file) if ca_file else None)
        self._step = step
        self._whole = whole

    def post(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        """Send, and return the status of the answer.

        Raises:
            SendFailed: `timeout`, `tls_failed`, `unreachable` or `answer_malformed`.
        """
        parts = urlsplit(url)
        connection = self._connection(parts.scheme, parts.hostname or "", parts.port)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        late = threading.Event()
        timer = threading.Timer(self._whole, _cut, (connection, late))
        timer.daemon = True
        timer.start()
        try:
            connection.connect()
            if late.is_set():  # before there was anything to cut
                raise SendFailed("timeout")
            connection.request("POST", target, body=body, headers=dict(headers))
            return connection.getresponse().status
        except TimeoutError as error:
            raise SendFailed("timeout") from error
        except ssl.SSLError as error:
            raise SendFailed("timeout" if late.is_set() else "tls_failed") from error
        except OSError as error:
            raise SendFailed("timeout" if late.is_set() else "unreachable") from error
        except (http.client.HTTPException, ValueError) as error:
            raise SendFailed("timeout" if late.is_set() else "answer_malformed") from error
        finally:
            timer.cancel()
            connection.close()

    def _connection(self, scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
        if scheme == "https":
            return http.client.HTTPSConnection(host, port, timeout=self._step, context=self._tls)
        return http.client.HTTPConnection(host, port, timeout=self._step)


def _cut(connection: http.client.HTTPConnection, late: threading.Event) -> None:
    """End a connection under the thread that waits for it, which then fails."""
    late.set()
    sock: socket.socket | None = connection.sock
    if sock is not None:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:  # it has ended by itself
            return


class MailRelay:
    """`mail_answers.Relay` over SMTP. Thread-safe.

    Args:
        url: `smtp://host:port`, or `smtps://host:port` for TLS from the start.
        step: seconds for each step.
    """

    def __init__(self, url: str, *, step: float = STEP_S) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port or 0
        self._tls = ssl.create_default_context() if parts.scheme == "smtps" else None
        self._step = step

    def send(self, recipient: str, message: bytes) -> None:
        """Hand over a message. A failure of the answer goes nowhere: its sender is empty.

        Raises:
            RelayRefused: it is not taken, and will not be.
            Unavailable: it may be taken later.
        """
        try:
            with self._connected() as link:
                # RFC 3834, 3.3: an answer has no return path, so that nothing answers it.
                link.sendmail("", [recipient], message)
        except smtplib.SMTPRecipientsRefused as refused:
            codes = [code for code, _ in refused.recipients.values()]
            raise _refused(codes[0]) from None
        except smtplib.SMTPResponseException as refused:
            raise _refused(refused.smtp_code) from None
        except (OSError, smtplib.SMTPException) as error:
            raise _refused(0) from error

    def _connected(self) -> smtplib.SMTP:
        if self._tls is None:
            return smtplib.SMTP(self._host, self._port, timeout=self._step)
        return smtplib.SMTP_SSL(self._host, self._port, timeout=self._step, context=self._tls)


def _refused(code: int) -> RelayRefused | Unavailable:
    # Not chained where it could be avoided: the library's errors repeat the address.
    if code >= 500:
        return RelayRefused()
    return Unavailable("the mail relay is not available", code="relay_unavailable")
