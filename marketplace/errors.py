"""Business errors. Each knows its HTTP status and a stable code; one handler renders them.

KinoraError
├── InvalidInput          422  a field is wrong; `param` names it
├── MalformedBody         400  not JSON, too deep, too large
├── NotAuthenticated      401  no key, a wrong, revoked or expired one
├── NotAllowed            403  the key lacks a scope
├── NotYetOpen            403  in early access, and the caller is not granted it
├── NotFound              404  also what another team owns
├── InsufficientBalance   402  `missing` tells how much
├── CostAboveLimit        402  the quote exceeds `max_cost`
├── BudgetExceeded        402  spent + held + new would pass a budget's limit
├── ModelNotAllowed       403  a budget allows other models only
├── IdempotencyConflict   422  same key, other body
├── QuoteUnusable         422  expired, another body, another team
├── TeamLocked            423
├── MethodNotAllowed      405
├── Conflict              409  the state does not allow it
├── StaleAttempt          409  the fence is lost
├── TooLarge              413
├── Busy                  429
└── Unavailable           503  a service of ours is away; `Retry-After` says when to come back
"""

from typing import Any


class KinoraError(Exception):
    """code: stable snake_case; param: the field at fault, if one is."""

    status = 500
    code = "internal_error"

    def __init__(self, message: str, *, param: str | None = None, **facts: Any) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.facts = facts

    def as_json(self) -> dict[str, Any]:
        body = {"code": self.code, "message": self.message, "param": self.param}
        return {"error": body | self.facts}

    def headers(self) -> dict[str, str]:
        """What HTTP wants to be told beside the body."""
        return (
            {"Retry-After": str(self.facts["retry_after"])} if "retry_after" in self.facts else {}
        )


class InvalidInput(KinoraError):
    status, code = 422, "invalid_input"


class MalformedBody(KinoraError):
    status, code = 400, "malformed_body"


class NotAuthenticated(KinoraError):
    status, code = 401, "not_authenticated"

    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer"}


class NotAllowed(KinoraError):
    status, code = 403, "not_allowed"


class NotYetOpen(KinoraError):
    status, code = 403, "not_yet_open"


class NotFound(KinoraError):
    status, code = 404, "not_found"


class InsufficientBalance(KinoraError):
    status, code = 402, "insufficient_balance"


class CostAboveLimit(KinoraError):
    status, code = 402, "cost_above_limit"


class BudgetExceeded(KinoraError):
    status, code = 402, "budget_exceeded"


class ModelNotAllowed(KinoraError):
    status, code = 403, "model_not_allowed"


class IdempotencyConflict(KinoraError):
    status, code = 422, "idempotency_conflict"


class QuoteUnusable(KinoraError):
    status, code = 422, "quote_unusable"


class TeamLocked(KinoraError):
    status, code = 423, "team_locked"


class MethodNotAllowed(KinoraError):
    status, code = 405, "method_not_allowed"


class Conflict(KinoraError):
    status, code = 409, "conflict"


class StaleAttempt(KinoraError):
    status, code = 409, "stale_attempt"


class TooLarge(KinoraError):
    status, code = 413, "too_large"


class Busy(KinoraError):
    status, code = 429, "busy"


class Unavailable(KinoraError):
    status, code = 503, "unavailable"


def database_away() -> Unavailable:
    return Unavailable("The database is away for a moment. Try again.", retry_after=1)
