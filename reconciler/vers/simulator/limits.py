"""How much of everything one client or one guest may have. The platform's own maxima are not known (vers-api §3.5); these keep the
simulator below 500 MB and every answer below five seconds, whatever is asked. docs/simulator.md lists them."""

from __future__ import annotations

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * 1024

# --- requests -------------------------------------------------------------------------------------------------------------------

HEAD: Final = 64 * KIB
METHOD: Final = 32
TARGET: Final = 16 * KIB
BODY: Final = 1 * MIB
"""Of a request; commands with their standard input and files may be larger."""
EXEC_BODY: Final = 4 * MIB
FILE_BODY: Final = 24 * MIB
BUFFERED: Final = 96 * MIB
"""Of all requests that arrive and all answers that nobody fetched yet, together."""
CONNECTIONS: Final = 2000
"""HTTP, and as many to the gateway."""
CHUNKS: Final = 100_000
"""Of one body."""
PIPELINED: Final = 16
REQUEST_S: Final = 60.0
"""From the first byte of a request to its last."""
STALLED_S: Final = 10.0
"""Without a byte in a request that has begun, or without one taken of an answer."""
FIELDS: Final = 100
"""Parameters of a query string."""
NUMBER_DIGITS: Final = 10
ECHO: Final = 200
"""Characters of a caller's value that an error repeats."""

# --- records --------------------------------------------------------------------------------------------------------------------

BRANCHES: Final = 32
"""VMs that one call makes."""
VMS: Final = 20_000
GUESTS: Final = 250
"""VMs that have a disk."""
COMMITS: Final = 5000
NAMES: Final = 200
"""Repositories, and tags of each of them or of the organisation."""
TOMBSTONES: Final = 20_000
LABELS: Final = 4 * KIB
"""Names and values of all labels of a VM."""
VARIABLES: Final = 64 * KIB
"""Names and values of all variables of the account."""
VARIABLE: Final = 8 * KIB
NAME: Final = 256
TEXT: Final = 1 * KIB
"""A description."""
CALLS: Final = 20_000
CHANGES: Final = 200_000
REPLIES: Final = 1000
"""Answers kept for an idempotency key."""
LOGGED: Final = 512
"""Characters of a path or a key in the log of calls."""

# --- guests ---------------------------------------------------------------------------------------------------------------------

FILE: Final = 16 * MIB
PATH: Final = 4095
COMMAND: Final = 96 * KIB
"""Arguments of a command, and its variables."""
OUTPUT: Final = 8 * MIB
"""Of one command of the exec API."""
CHUNK_COST: Final = 256
"""Bytes that a piece of output counts for besides its own."""
LOG: Final = 4 * MIB
"""Of a VM."""
HELD: Final = 64 * MIB
"""Output of all commands and logs of all VMs, together."""
RUNS: Final = 200
"""Commands of a VM that are remembered."""
RUNNING: Final = 64
"""Commands of a VM at once, over the API and over SSH together."""
GUEST_FILE: Final = 4 * 1024 * MIB
"""The largest file that a process of a guest can write."""
COPY_S: Final = 60.0
CONNECT_S: Final = 4.0
STARTING: Final = 48
"""Machines that are being started; more are asked for again a moment later."""

# --- the end --------------------------------------------------------------------------------------------------------------------

STOP_S: Final = 4.0
"""For all of it."""
STOP_PART_S: Final = 1.0
"""For each part that waits for others."""
