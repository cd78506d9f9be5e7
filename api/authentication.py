"""Authentication: a bearer key becomes a principal, and a principal may do what its role may do."""

from api.operations import Access, Operation
from api.problems import NOT_AUTHENTICATED, ROLE_NOT_ALLOWED, Problem
from api.requests import Request
from application.keys import CredentialUses, KeyRing, fingerprint

_SCHEME = b"bearer "
KEY_BYTES_MAX = 200
"""Ours have 51; what is longer is no key and not worth a hash."""
_CHALLENGE = {"www-authenticate": 'Bearer realm="rapport"'}
_INVALID_TOKEN = {"www-authenticate": 'Bearer realm="rapport", error="invalid_token"'}


class Doorkeeper:
    """Lets a request through to its operation, or not."""

    def __init__(self, keys: KeyRing, uses: CredentialUses) -> None:
        self._keys = keys
        self._uses = uses

    async def admit(self, request: Request, operation: Operation) -> None:
        """Put the principal into the request. Raises a `Problem` if there is none or its role is not admitted."""
        roles = operation.roles
        if isinstance(roles, Access):
            return
        given = request.given.get(b"authorization", b"")
        if given[: len(_SCHEME)].lower() != _SCHEME:
            raise Problem(NOT_AUTHENTICATED, headers=_CHALLENGE)
        secret = given[len(_SCHEME) :]
        if len(secret) > KEY_BYTES_MAX:
            raise Problem(NOT_AUTHENTICATED, headers=_INVALID_TOKEN)
        mark = fingerprint(secret)
        # A look-up by SHA-256 tells nothing by its duration: nobody can choose the hash of a guess.
        principal = self._keys.known(mark) or await self._keys.find(mark)
        if principal is None:
            raise Problem(NOT_AUTHENTICATED, headers=_INVALID_TOKEN)
        request.principal = principal
        self._uses.note(principal.credential_id)
        if principal.role not in roles:
            allowed = ", ".join(sorted(roles))
            raise Problem(ROLE_NOT_ALLOWED, facts={"role": principal.role, "allowed": allowed})
