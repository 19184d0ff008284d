"""Tokens, secrets and their redaction, certificates; the audit log will join them."""

from ai_how.security.certificates import Certificates
from ai_how.security.private import read_private, write_private
from ai_how.security.redact import Redactor
from ai_how.security.tokens import (
    Grant,
    TokenEntry,
    TokenFile,
    create_token,
    digest,
    find_token,
    load_tokens,
    new_secret,
    revoke_token,
)

__all__ = [
    "Certificates",
    "Grant",
    "Redactor",
    "TokenEntry",
    "TokenFile",
    "create_token",
    "digest",
    "find_token",
    "load_tokens",
    "new_secret",
    "read_private",
    "revoke_token",
    "write_private",
]
