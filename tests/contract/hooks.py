"""What schemathesis is told about this appliance, and what is counted while it runs."""

import atexit
import collections
import json
import os

import schemathesis

# Given by run.py.
OWN_KEYS = os.environ["PAGEWIRE_CONTRACT_KEY_IDS"].split()
COUNTS_FILE = os.environ["PAGEWIRE_CONTRACT_COUNTS"]

# An id of the form of a key's that no key has.
NO_KEY = "000000000000"
# Enough to go the way of a request that waits.
LONGEST_WAIT_S = 1
LARGEST_WAIT = 2**64 - 1

# What the first bytes of a document are, by its media type.
SIGNATURES = {
    "application/pdf": (b"%PDF-",),
    "image/png": (b"\x89PNG\r\n\x1a\n",),
    "image/tiff": (b"II*\0", b"MM\0*"),
}

answers = collections.Counter()


@schemathesis.hook
def before_call(ctx, case, kwargs):
    """Keeps the run from ending itself, and from sleeping through its time."""
    parameters = case.path_parameters or {}
    if case.method.upper() != "GET":
        # A key that revokes, disables or rotates itself would leave nothing to test with.
        case.path_parameters = {
            name: NO_KEY if value in OWN_KEYS else value for name, value in parameters.items()
        }
    wait = (case.query or {}).get("wait")
    if isinstance(wait, int) and LONGEST_WAIT_S < wait <= LARGEST_WAIT:
        case.query["wait"] = LONGEST_WAIT_S


@schemathesis.hook
def after_call(ctx, case, response):
    answers[f"{case.operation.label} {response.status_code}"] += 1


@schemathesis.check
def documents_are_what_they_say(ctx, response, case):
    """A schema says nothing of a document; its first bytes do."""
    media_type = (response.headers.get("content-type") or [""])[0]
    signatures = SIGNATURES.get(media_type)
    if signatures and case.method.upper() == "GET":
        assert response.content.startswith(signatures), f"{media_type} begins {response.content[:8]!r}"


@atexit.register
def write_counts():
    with open(COUNTS_FILE, "w", encoding="utf-8") as file:
        json.dump(answers, file)
