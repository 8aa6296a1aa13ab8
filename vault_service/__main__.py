"""`python -m vault_service` and the installed command: hands over to the command line."""

from __future__ import annotations

from vault_service.cli.main import main

if __name__ == "__main__":
    main()
