"""Where secrets may be opened and the environment be read, and what may lie in the sources."""

from __future__ import annotations

import ast
import re
from typing import Final

from tests.support.sources import PACKAGES, ROOT, modules, tracked

# Modules that may open a `Secret`, and why. To add one is a decision for a review.
MAY_EXPOSE: Final = {
    "keys/aead.py": "seals and opens under the key",
    "keys/data_keys.py": "hands data keys to be wrapped",
    "keys/operations.py": "encodes what Vault is to wrap or fingerprint",
    "keys/secret.py": "compares two secrets",
    "keys/spool.py": "writes the wrapping token to its file",
    "keys/tokens.py": "puts the Vault token into its header",
    "keys/transit.py": "logs in with the secret-id",
    "vault_service/services/honeytokens.py": "marks names under the guard key",
    "vault_service/services/webhooks.py": "signs what is sent to the webhooks",
}
READS_ENVIRONMENT: Final = "vault_service/settings.py"
# The one exception tells prometheus-client its folder, which takes it from the environment only.
WRITES_ENVIRONMENT: Final = {"vault_service/serve.py"}

_PRIVATE_KEY: Final = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY")
_VAULT_TOKEN: Final = re.compile(rb"\b(?:hv[sb]|[sb])\.[A-Za-z0-9_-]{24,}")
_LONG_HEX: Final = re.compile(rb"\b[0-9a-fA-F]{48,}\b")
_LONG_BASE64: Final = re.compile(
    rb"(?<![\w/+.-])(?=[\w+/]*\d)(?=[\w+/]*[A-Z])[\w+/]{43,}={0,2}(?![\w/])"
)


def test_secrets_are_exposed_in_a_short_list_of_modules() -> None:
    """Whoever opens a secret is on the list, and whoever is on the list still does."""
    found = {
        path
        for path, tree in modules(*PACKAGES)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and node.attr == "expose"
    }
    assert found == set(MAY_EXPOSE)


def environment_uses(tree: ast.Module) -> tuple[int, int]:
    """How often a module reads and writes the environment of its process."""
    reads = writes = 0
    written: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store):
            written.add(node.value)
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in {"environ", "environb", "getenv"}:
            if isinstance(node.value, ast.Name) and node.value.id == "os":
                writes += node in written
                reads += node not in written
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            reads += sum(alias.name in {"environ", "environb", "getenv"} for alias in node.names)
    return reads, writes


def test_settings_alone_read_the_environment() -> None:
    """A setting that is read anywhere else would be checked nowhere."""
    for path, tree in modules(*PACKAGES):
        reads, writes = environment_uses(tree)
        assert reads == 0 or path == READS_ENVIRONMENT, path
        assert writes == 0 or path in WRITES_ENVIRONMENT, path


def test_keys_holds_no_key_material() -> None:
    """The package holds code, a declaration and policies: nothing that looks like a key."""
    for path in (path for path in tracked() if path.is_relative_to(ROOT / "keys")):
        assert path.suffix in {".py", ".toml", ".hcl"} or path.name == "py.typed", path
        content = path.read_bytes()
        for pattern in (_PRIVATE_KEY, _VAULT_TOKEN, _LONG_HEX, _LONG_BASE64):
            assert pattern.search(content) is None, (path, pattern.pattern)


def test_no_private_key_or_vault_token_is_tracked() -> None:
    """No secret travels with the sources; tests have made-up ones."""
    for path in tracked():
        content = path.read_bytes()
        if not path.is_relative_to(ROOT / "tests" / "vectors"):
            assert _PRIVATE_KEY.search(content) is None, path
        if not path.is_relative_to(ROOT / "tests"):
            assert _VAULT_TOKEN.search(content) is None, path
