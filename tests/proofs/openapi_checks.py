"""A check that Schemathesis loads: no answer says that something of ours went wrong.

fal's clients are told of a run that its lab failed by the status 500 of its result, with a word
that says so. The rehearsal lab fails when its inputs ask for it, and a generated one may.
"""

from typing import Any

import schemathesis

FAILED_RUN = {"error_type": "runner_server_error", "detail": "The lab failed to draw this."}


@schemathesis.check
def no_fault_of_ours(_context: Any, response: Any, case: Any) -> None:
    if response.status_code < 500:
        return
    told = response.json()
    result = case.method == "GET" and case.path.endswith("/requests/{request_id}")
    if not (result and response.status_code == 500 and FAILED_RUN.items() <= told.items()):
        raise AssertionError(f"{response.status_code}: {told}")
